"""How much a tenant may use: jobs in flight, requests a second, bytes a second. 0 limits nothing."""

import msgspec

from errors import InvalidInput
from storage import keys
from storage.access import TENANT
from storage.connection import Client, store_errors
from storage.scripts import Call, Scripts


class Quota(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """0: no limit."""

    #: Jobs that are queued or running.
    max_in_flight: int = 0
    #: Requests with the tenant's keys; a second's worth may come at once.
    requests_per_s: float = 0.0
    #: Of these requests' bodies.
    bytes_per_s: float = 0.0

    @property
    def rated(self) -> bool:
        return bool(self.requests_per_s or self.bytes_per_s)


UNLIMITED = Quota()
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Quota).decode


class Quotas:
    """What operators set. Methods raise StoreUnavailable when Redis does not answer."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._scripts = Scripts(client)

    def set(self, tenant: str, quota: Quota) -> None:
        """Gateways know within seconds. Raises InvalidInput for an unusable tenant name."""
        if not TENANT.fullmatch(tenant):
            raise InvalidInput(f"a tenant's name must match {TENANT.pattern}, and {tenant[:80]!r} does not")
        with store_errors():
            if quota == UNLIMITED:
                self._client.hdel(keys.QUOTAS, tenant)
            else:
                self._client.hset(keys.QUOTAS, tenant, _encode(quota))

    def get(self, tenant: str) -> Quota:
        with store_errors():
            text = self._client.hget(keys.QUOTAS, tenant)
        return _decode(text) if text else UNLIMITED

    def all(self) -> dict[str, Quota]:
        """Those of the tenants that have one."""
        with store_errors():
            return {name.decode(): _decode(text) for name, text in self._client.hgetall(keys.QUOTAS).items()}

    def spend(self, tenant: str, quota: Quota, *, bytes: int, let_in: bool = False) -> tuple[float, str]:
        """Take a request's share; seconds until it would be let in (0: it is), and which rate it waits for.

        `let_in`: it was before, and now its body has turned out to have so many bytes.
        """
        args = (quota.requests_per_s, quota.bytes_per_s, bytes, int(let_in))
        with store_errors():
            wait_ms, which = self._scripts.run(Call("spend", (keys.bucket(tenant),), args))
        return wait_ms / 1000, which.decode()
