"""Where in a job's inputs something is: JSON pointers."""

from urllib.parse import quote


def pointer(name: str, *steps: object) -> str:
    """JSON pointer in URI fragment form (RFC 6901) into `inputs`; a long name is cut."""
    tokens = [str(step)[:80].replace("~", "~0").replace("/", "~1") for step in (name, *steps)]
    return "#/inputs/" + "/".join(quote(token, safe="~!$&'()*+,;=:@", errors="replace") for token in tokens)
