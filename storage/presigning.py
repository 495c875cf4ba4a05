"""A URL that allows one PUT of one length: AWS Signature Version 4 in the query, with Content-Length signed.

The `minio` client signs the host alone, so that whoever has its URL may send as much as a disk holds. The algorithm is
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html.
"""

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from urllib.parse import quote, urlsplit

from storage.s3server import Server

ALGORITHM = "AWS4-HMAC-SHA256"
SIGNED = "content-length;host"


def put_url(
    server: Server, key: str, *, length: int, expires_s: int, query: Mapping[str, str] | None = None,
    inside: bool = False, clock: Callable[[], float] = time.time,
) -> str | None:  # fmt: skip
    """Where to PUT exactly `length` bytes for `expires_s` seconds; None where clients do not reach the store.

    `query`: what else the address says, of which part of which upload the bytes are. `inside`: where this farm's own
    processes reach the store.
    """
    if server.public is None and not inside:
        return None
    own = f"{'https' if server.secure else 'http'}://{server.host}"
    at = urlsplit(own if inside else server.public or own)
    path = "/" + quote(f"{server.bucket}/{key}", safe="/-_.~")
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(clock()))
    scope = f"{moment[:8]}/{server.region}/s3/aws4_request"
    asked = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{server.access_key}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(expires_s),
        "X-Amz-SignedHeaders": SIGNED,
        **(query or {}),
    }
    if server.session_token:
        asked["X-Amz-Security-Token"] = server.session_token
    signed = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in sorted(asked.items()))
    headers = f"content-length:{length}\nhost:{at.netloc}\n"
    request = f"PUT\n{path}\n{signed}\n{headers}\n{SIGNED}\nUNSIGNED-PAYLOAD"
    told = f"{ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = hmac.new(signing_key(server, scope), told.encode(), hashlib.sha256).hexdigest()
    return f"{at.scheme}://{at.netloc}{path}?{signed}&X-Amz-Signature={signature}"


def signing_key(server: Server, scope: str) -> bytes:
    key = ("AWS4" + server.secret_key).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
