"""API keys: who may ask, and as which tenant. Redis holds a key's SHA-256 only; the key is shown once.

A digest without salt is enough here: a key is 256 random bits, which no table or guess reaches. Looking a
digest up also takes the same time whatever the presented key shares with a real one.
"""

import hashlib
import re
import secrets
import time

import msgspec
import redis

from errors import InvalidInput, NotFound
from storage import keys
from storage.connection import store_errors

#: Keys begin with this, so that scanners of leaked secrets can know them.
KEY_PREFIX = "psk_"
#: A tenant's name stands in Redis keys and object keys.
TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What one API key allows."""

    id: str
    tenant: str
    name: str = ""
    #: Whether it may change models.
    admin: bool = False
    created_ms: int = 0


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Grant).decode


class Access:
    """The farm's API keys. Methods raise StoreUnavailable when Redis does not answer."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client

    def create(self, tenant: str, name: str = "", *, admin: bool = False) -> str:
        """Make a key for `tenant`; the only time it can be read. Raises InvalidInput for an unusable tenant name."""
        if not TENANT.fullmatch(tenant):
            raise InvalidInput(f"a tenant's name must match {TENANT.pattern}, and {tenant[:80]!r} does not")
        key = KEY_PREFIX + secrets.token_urlsafe(32)
        grant = Grant(
            id="key_" + secrets.token_hex(6), tenant=tenant, name=name, admin=admin, created_ms=time.time_ns() // 10**6
        )
        with store_errors():
            self._client.hset(keys.API_KEYS, digest(key), _encode(grant))
        return key

    def list(self) -> list[Grant]:
        """Every key's grant, oldest first."""
        with store_errors():
            grants = [_decode(text) for text in self._client.hvals(keys.API_KEYS)]
        return sorted(grants, key=lambda grant: (grant.created_ms, grant.id))

    def revoke(self, id: str) -> Grant:
        """Make the key `id` void (gateways know within five seconds); raises NotFound."""
        with store_errors():
            for field, text in self._client.hgetall(keys.API_KEYS).items():
                grant = _decode(text)
                if grant.id == id:
                    self._client.hdel(keys.API_KEYS, field)
                    return grant
        raise NotFound(f"no API key {id[:80]!r}")

    def check(self, key: str) -> Grant | None:
        """What `key` allows, or None for an unknown or revoked one."""
        with store_errors():
            text = self._client.hget(keys.API_KEYS, digest(key))
        return _decode(text) if text else None

    def any(self) -> bool:
        """Whether there is a key at all."""
        with store_errors():
            return bool(self._client.hlen(keys.API_KEYS))

    def secret(self) -> bytes:
        """The farm's own random secret, made at first use: signs the links that gateways hand out."""
        with store_errors():
            self._client.set(keys.SECRET, secrets.token_bytes(32), nx=True)
            return bytes(self._client.get(keys.SECRET))


def digest(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()
