"""What every answer says to a browser that gets hold of it: run nothing, show it nowhere, keep and tell nothing.

The API is for programs. A browser meets it where somebody opens a link, or where a page tries to use it: no answer
allows other origins (there is no CORS), and what users uploaded is sent as an attachment of no particular type.
"""

#: Set unless an answer has its own.
ALWAYS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
)
