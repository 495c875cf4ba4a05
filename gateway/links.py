"""Signed links to objects, for the folder side of the object store: what S3 calls presigned URLs."""

import time
from collections.abc import Callable
from functools import cached_property

from itsdangerous import BadSignature, URLSafeSerializer

from errors import Forbidden
from storage.access import Access

#: Seconds that a link works.
LINK_TTL_S = 15 * 60


class Links:
    """Makes and checks the links. The secret is the farm's, so any gateway process reads what another signed."""

    def __init__(self, access: Access, *, clock: Callable[[], float] = time.time) -> None:
        self._access = access
        self._clock = clock

    @cached_property
    def _serializer(self) -> URLSafeSerializer:
        return URLSafeSerializer(self._access.secret(), salt="penstock.objects")

    def path(self, key: str, *, method: str, length: int | None = None, ttl_s: float = LINK_TTL_S) -> str:
        """A path on this gateway that allows `method` on the object `key` for `ttl_s` seconds.

        `length`: the only number of bytes that may be sent.
        """
        token = self._serializer.dumps([method, key, int(self._clock() + min(ttl_s, LINK_TTL_S)), length])
        return "/v1/links/" + token

    def allowed(self, token: str, *, method: str) -> tuple[str, int | None]:
        """The object that a link's token allows `method` on, and its `length`; raises Forbidden."""
        try:
            allowed, key, until, length = self._serializer.loads(token)
        # A link of a gateway before there were lengths lives for minutes: it is refused too.
        except (BadSignature, ValueError) as error:
            raise Forbidden("this link is not one of ours") from error
        if allowed != method:
            raise Forbidden(f"this link is for {allowed}")
        if self._clock() > until:
            raise Forbidden("this link has expired")
        return str(key), length
