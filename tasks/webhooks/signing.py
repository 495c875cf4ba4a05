"""Signatures of webhooks: Standard Webhooks 1.0.0, https://www.standardwebhooks.com (symmetric, `v1`)."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

from storage.webhooks import SECRET_PREFIX


def headers(id: str, *, timestamp_s: int, body: bytes, secrets: Iterable[str]) -> dict[str, str]:
    """The three headers; a signature for each secret, so that a receiver may know either."""
    signatures = [sign(id, timestamp_s, body, secret) for secret in secrets]
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(signatures),
    }


def sign(id: str, timestamp_s: int, body: bytes, secret: str) -> str:
    """`v1,<base64>` of the HMAC-SHA256 over `id.timestamp.body`; raises ValueError for a secret that is no base64."""
    content = f"{id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key(secret), content, hashlib.sha256)).decode()


def key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("a webhook secret must be base64 behind whsec_") from error
