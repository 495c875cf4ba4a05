"""A URL that allows one PUT of one length: AWS Signature Version 4 in the query, with Content-Length signed.

The `minio` client signs the host alone, so that whoever has its URL may send as much as a disk holds. The algorithm is
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html.
"""

import hashlib
import hmac
import time
from collections.abc import Callable
from urllib.parse import quote, urlsplit

from storage.s3server import Server

ALGORITHM = "AWS4-HMAC-SHA256"
SIGNED = "content-length;host"


def put_url(
    server: Server, key: str, *, length: int, expires_s: int, clock: Callable[[], float] = time.time
) -> str | None:
    """Where to PUT exactly `length` bytes for `expires_s` seconds; None where clients do not reach the store."""
    if server.public is None:
        return None
    at = urlsplit(server.public or f"{'https' if server.secure else 'http'}://{server.host}")
    path = "/" + quote(f"{server.bucket}/{key}", safe="/-_.~")
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(clock()))
    scope = f"{moment[:8]}/{server.region}/s3/aws4_request"
    asked = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{server.access_key}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(expires_s),
        "X-Amz-SignedHeaders": SIGNED,
    }
    if server.session_token:
        asked["X-Amz-Security-Token"] = server.session_token
    query = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in sorted(asked.items()))
    headers = f"content-length:{length}\nhost:{at.netloc}\n"
    request = f"PUT\n{path}\n{query}\n{headers}\n{SIGNED}\nUNSIGNED-PAYLOAD"
    told = f"{ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = hmac.new(signing_key(server, scope), told.encode(), hashlib.sha256).hexdigest()
    return f"{at.scheme}://{at.netloc}{path}?{query}&X-Amz-Signature={signature}"


def signing_key(server: Server, scope: str) -> bytes:
    key = ("AWS4" + server.secret_key).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
