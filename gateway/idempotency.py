"""Idempotency-Key: the same key and the same body are the same job.

Digests only are kept. The body's is that of its meaning (keys sorted, defaults filled in, stored files by their
SHA-256), so that a client that writes the same JSON differently is recognised.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from errors import Fault, InvalidInput
from gateway.accepting import Idempotency
from gateway.submission import Input, Submission

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Longest key, in characters.
MAX_LENGTH = 255

_encode = msgspec.json.Encoder(order="sorted").encode


def asked_key(environ: "WSGIEnvironment") -> str:
    """The request's Idempotency-Key, empty without one; raises InvalidInput."""
    key: str = environ.get("HTTP_IDEMPOTENCY_KEY", "")
    if len(key) > MAX_LENGTH:
        detail = f"has more than {MAX_LENGTH} characters"
        raise InvalidInput(f"Idempotency-Key {detail}", faults=[Fault("Idempotency-Key", detail)])
    return key


def idempotency(key: str, submission: Submission, inputs: Mapping[str, Input]) -> Idempotency:
    meaning = {
        "submission": msgspec.structs.replace(submission, inputs={}),
        "inputs": {name: given.stored or given.value for name, given in inputs.items()},
    }
    return Idempotency(sha256(key.encode()).hexdigest(), sha256(_encode(meaning)).hexdigest())
