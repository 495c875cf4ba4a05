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

    def path(self, key: str, *, method: str, ttl_s: float = LINK_TTL_S) -> str:
        """A path on this gateway that allows `method` on the object `key` for `ttl_s` seconds."""
        token = self._serializer.dumps([method, key, int(self._clock() + ttl_s)])
        return "/v1/links/" + token

    def key(self, token: str, *, method: str) -> str:
        """The object that a link's token allows `method` on; raises Forbidden."""
        try:
            allowed, key, until = self._serializer.loads(token)
        except BadSignature as error:
            raise Forbidden("this link is not one of ours") from error
        if allowed != method:
            raise Forbidden(f"this link is for {allowed}")
        if self._clock() > until:
            raise Forbidden("this link has expired")
        return str(key)
