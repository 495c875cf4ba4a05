"""API keys: who may ask, as which tenant, for what and until when. Redis holds a key's SHA-256 only.

A digest without salt is enough here: a key is 256 random bits, which no table or guess reaches. It also makes the check
constant in time: what is looked up and compared is the digest, whose bytes nobody can steer towards a stored one's, so
how long that takes says nothing about a key. The key itself is compared with nothing.
"""

import hashlib
import re
import secrets
from collections.abc import Collection, Mapping
from typing import Literal, get_args

import msgspec

from errors import InvalidInput, NotFound
from storage import keys
from storage.clock import wall_ms
from storage.connection import Client, store_errors
from storage.scripts import Call, Scripts

#: Keys begin with this, so that scanners of leaked secrets can know them.
KEY_PREFIX = "psk_"
#: A tenant's name stands in Redis keys and object keys.
TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
#: What a key may do: change its tenant's jobs and objects, see them, or look after the farm. None implies another.
Scope = Literal["submit", "read", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
#: What a key may do that was made without a word on it.
USUAL: tuple[Scope, ...] = ("submit", "read")


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What one API key allows."""

    id: str
    tenant: str
    name: str = ""
    #: Sorted as in SCOPES; empty only in a record from before there were scopes.
    scopes: tuple[Scope, ...] = ()
    #: What such a record says in place of its scopes.
    admin: bool = False
    created_ms: int = 0
    #: From then on it is void, milliseconds since the epoch; 0: never.
    expires_ms: int = 0
    #: The id of the key that it took over from.
    replaces: str = ""

    def __post_init__(self) -> None:
        if not self.scopes:
            msgspec.structs.force_setattr(self, "scopes", (*USUAL, "admin") if self.admin else USUAL)

    def live(self, now_ms: float) -> bool:
        return not self.expires_ms or now_ms < self.expires_ms


_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(Grant).decode


class Access:
    """The farm's API keys. Methods raise StoreUnavailable when Redis does not answer."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(
        self, tenant: str, name: str = "", *, scopes: Collection[str] = USUAL, admin: bool = False, expires_s: float = 0
    ) -> str:
        """Make a key for `tenant`; the only time it can be read. `admin` adds that scope; `expires_s` 0: for ever.

        Raises InvalidInput for an unusable tenant name or an unknown scope.
        """
        return self.issue(tenant, name, scopes={*scopes, *(("admin",) if admin else ())}, expires_s=expires_s)[0]

    def issue(self, tenant: str, name: str = "", *, scopes: Collection[str], expires_s: float = 0) -> tuple[str, Grant]:
        """As `create`; the key, and what it allows."""
        key, grant = made(tenant, name, scopes=scopes, expires_s=expires_s, now_ms=wall_ms())
        with store_errors():
            self._client.hset(keys.API_KEYS, digest(key), _encode(grant))
        return key, grant

    def rotate(self, id: str, *, overlap_s: float) -> tuple[str, Grant]:
        """Make a successor of the key `id`, which works for `overlap_s` seconds more; raises NotFound.

        Both work until then. The successor may do the same, and lives as long as its predecessor was to live.
        """
        field, text, old = self._find(id)
        now_ms = wall_ms()
        if not old.live(now_ms):
            raise NotFound(f"API key {id[:80]!r} has expired: make a new one")
        key, new = made(
            old.tenant, old.name, scopes=old.scopes, replaces=old.id, now_ms=now_ms,
            expires_s=(old.expires_ms - old.created_ms) / 1000 if old.expires_ms else 0,
        )  # fmt: skip
        ends_ms = now_ms + round(overlap_s * 1000)
        ending = msgspec.structs.replace(old, expires_ms=min(old.expires_ms or ends_ms, ends_ms))
        with store_errors():
            # Only while the old one is as it was: a key that is revoked at this moment must not come back.
            done = Scripts(self._client).run(
                Call("rotate", [keys.API_KEYS], [field, text, _encode(ending), digest(key), _encode(new)])
            )
        if not done:
            raise NotFound(f"API key {id[:80]!r} has just been changed or revoked")
        return key, new

    def list(self) -> list[Grant]:
        """Every key's grant, oldest first."""
        with store_errors():
            grants = [_decode(text) for text in self._client.hvals(keys.API_KEYS)]
        return sorted(grants, key=lambda grant: (grant.created_ms, grant.id))

    def revoke(self, id: str) -> Grant:
        """Make the key `id` void (gateways know within five seconds); raises NotFound."""
        field, _, grant = self._find(id)
        with store_errors():
            self._client.hdel(keys.API_KEYS, field)
            self._client.hdel(keys.API_KEYS_USED, id)
        return grant

    def check(self, key: str) -> Grant | None:
        """What `key` allows, or None for one that is unknown, revoked or has expired."""
        with store_errors():
            text = self._client.hget(keys.API_KEYS, digest(key))
        grant = _decode(text) if text else None
        return grant if grant is not None and grant.live(wall_ms()) else None

    def used(self, id: str, *, at_ms: int) -> None:
        """Note that the key `id` was used."""
        with store_errors():
            self._client.hset(keys.API_KEYS_USED, id, at_ms)

    def last_used(self) -> Mapping[str, int]:
        """When each key was used last, milliseconds since the epoch: to within about a minute."""
        with store_errors():
            return {id.decode(): int(at) for id, at in self._client.hgetall(keys.API_KEYS_USED).items()}

    def any(self) -> bool:
        """Whether there is a key at all."""
        with store_errors():
            return bool(self._client.hlen(keys.API_KEYS))

    def secret(self) -> bytes:
        """The farm's own random secret, made at first use: signs the links that gateways hand out."""
        with store_errors():
            self._client.set(keys.SECRET, secrets.token_bytes(32), nx=True)
            return bytes(self._client.get(keys.SECRET))

    def _find(self, id: str) -> tuple[bytes, bytes, Grant]:
        """The field and the text of the key `id`, and what it allows; raises NotFound."""
        with store_errors():
            for field, text in self._client.hgetall(keys.API_KEYS).items():
                if (grant := _decode(text)).id == id:
                    return field, text, grant
        raise NotFound(f"no API key {id[:80]!r}")


def made(
    tenant: str, name: str, *, scopes: Collection[str], expires_s: float, now_ms: int, replaces: str = ""
) -> tuple[str, Grant]:
    """A new key and what it allows; raises InvalidInput."""
    if not TENANT.fullmatch(tenant):
        raise InvalidInput(f"a tenant's name must match {TENANT.pattern}, and {tenant[:80]!r} does not")
    if unknown := sorted(set(scopes).difference(SCOPES)):
        raise InvalidInput(f"no scope {unknown[0][:80]!r}: there are {', '.join(SCOPES)}")
    if not scopes:
        raise InvalidInput(f"a key needs a scope: {', '.join(SCOPES)}")
    grant = Grant(
        id="key_" + secrets.token_hex(6),
        tenant=tenant,
        name=name,
        scopes=tuple(scope for scope in SCOPES if scope in scopes),
        created_ms=now_ms,
        expires_ms=now_ms + round(expires_s * 1000) if expires_s else 0,
        replaces=replaces,
    )
    return KEY_PREFIX + secrets.token_urlsafe(32), grant


def digest(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()
