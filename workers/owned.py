"""The objects that a job may touch: those of its own tenant, whoever wrote the message."""

from errors import InvalidInput
from storage.objects import Objects

#: Most that one referenced object may bring into the executor's memory, bytes.
MAX_INPUT_BYTES = 512 * 2**20


def check_owned(tenant: str, key: str) -> None:
    """Raises InvalidInput for another tenant's key."""
    if not key.startswith(f"{tenant}/"):
        raise InvalidInput(f"the object {key[:80]!r} is not one of tenant {tenant}: its key must begin with {tenant}/")


def fetch(objects: Objects, tenant: str, key: str) -> bytes:
    """A referenced object; raises InvalidInput, NotFound, PayloadTooLarge or ObjectsUnavailable."""
    check_owned(tenant, key)
    return objects.read(key, max_bytes=MAX_INPUT_BYTES)
