"""What an operator asked for beyond the manifests: loads, labels, traffic; one record a model, changed by copy.

Workers and gateways look at the records once a second. A change is computed here and replaces the record only where
nobody else was faster (deploy.lua); else it is computed again from what the other left.
"""

import re
from collections.abc import Callable, Mapping

import msgspec
import redis

from errors import Fault, InvalidInput, StoreUnavailable, VersionConflict
from storage import keys
from storage.connection import Client, store_errors
from storage.scripts import Call, Scripts

#: The label that jobs without a version go to, where it is set.
STABLE = "stable"
#: A label begins with a letter, so that it is not taken for a number.
LABEL = re.compile(r"[a-z][a-z0-9_-]{0,31}")
#: Times that a change is computed again since another one came between.
TRIES = 20


class Deployment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One model's record."""

    #: Versions served whatever the policy says, and versions not served whatever it says.
    loaded: tuple[str, ...] = ()
    unloaded: tuple[str, ...] = ()
    #: Label to version.
    labels: dict[str, str] = {}
    #: Version to weight; jobs without a version are split so. Empty: they are not.
    traffic: dict[str, float] = {}
    #: The version that jobs went to before the last promotion; kept loaded, for a rollback.
    previous: str = ""
    #: Changes so far.
    revision: int = 0

    @property
    def pinned(self) -> frozenset[str]:
        """Versions that stay served whatever the policy says."""
        return frozenset({*self.loaded, *self.labels.values(), *self.traffic, self.previous} - {""})

    def load(self, version: str) -> "Deployment":
        """Serve a version, and go on when newer ones come."""
        return self._to(loaded=with_(self.loaded, version), unloaded=without(self.unloaded, version))

    def unload(self, version: str) -> "Deployment":
        """Serve a version no more; raises VersionConflict while a label or traffic points at it."""
        labels = [label for label, target in self.labels.items() if target == version]
        if labels:
            raise VersionConflict(f"label {labels[0]!r} points at version {version}; move or delete the label first")
        if version in self.traffic:
            raise VersionConflict(f"version {version} gets a share of the traffic; set other shares first")
        return self._to(
            loaded=without(self.loaded, version),
            unloaded=with_(self.unloaded, version),
            previous="" if self.previous == version else self.previous,
        )

    def label(self, label: str, version: str, *, before: str = "") -> "Deployment":
        """Point a label at a version; `before`: where jobs without a version went until now."""
        if not LABEL.fullmatch(label):
            raise InvalidInput(
                f"a label must match {LABEL.pattern}, and {label[:80]!r} does not",
                faults=[Fault("#/label", f"must match {LABEL.pattern}")],
            )
        if label == STABLE:
            return self.promote(version, before=before, traffic=self.traffic)
        return self._to(labels=self.labels | {label: version}, unloaded=without(self.unloaded, version))

    def unlabel(self, label: str) -> "Deployment":
        return self._to(labels={name: target for name, target in self.labels.items() if name != label})

    def split(self, traffic: Mapping[str, float]) -> "Deployment":
        """Split jobs without a version by weight; nothing ends the split."""
        used = {version: weight for version, weight in traffic.items() if weight > 0}
        if traffic and not used:
            raise InvalidInput("every weight is 0", faults=[Fault("#", "at least one weight must be above 0")])
        return self._to(traffic=used, unloaded=tuple(one for one in self.unloaded if one not in used))

    def promote(self, version: str, *, before: str = "", traffic: Mapping[str, float] | None = None) -> "Deployment":
        """Send every job without a version to `version`, and remember where they went before."""
        old = self.labels.get(STABLE, before)
        return self._to(
            labels=self.labels | {STABLE: version},
            traffic=dict(traffic or {}),
            previous=old if old != version else self.previous,
            unloaded=without(self.unloaded, version),
        )

    def rollback(self) -> "Deployment":
        """Undo the last promotion; a second one goes forth again. Raises VersionConflict where there was none."""
        if not self.previous:
            raise VersionConflict("there is no promotion to roll back")
        return self.promote(self.previous)

    def _to(self, **changes: object) -> "Deployment":
        changed = msgspec.structs.replace(self, **changes)
        return self if changed == self else msgspec.structs.replace(changed, revision=self.revision + 1)


def with_(versions: tuple[str, ...], version: str) -> tuple[str, ...]:
    return (*without(versions, version), version)


def without(versions: tuple[str, ...], version: str) -> tuple[str, ...]:
    return tuple(one for one in versions if one != version)


_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(Deployment).decode


class Deployments:
    """The records in Redis. Methods raise StoreUnavailable when it does not answer."""

    def __init__(self, client: Client) -> None:
        self._client: redis.Redis = client
        self._scripts = Scripts(client)

    def all(self) -> dict[str, Deployment]:
        """Every record, by model; a model that no operator has touched has none."""
        with store_errors():
            found = self._client.hgetall(keys.DEPLOYMENTS)
        return {model.decode(): _decode(text) for model, text in found.items()}

    def get(self, model: str) -> Deployment:
        with store_errors():
            text = self._client.hget(keys.DEPLOYMENTS, model)
        return _decode(text) if text else Deployment()

    def change(self, model: str, step: Callable[[Deployment], Deployment]) -> Deployment:
        """Replace a model's record by what `step` makes of it; raises what `step` raises."""
        for _ in range(TRIES):
            with store_errors():
                before = self._client.hget(keys.DEPLOYMENTS, model) or b""
            after = step(_decode(before) if before else Deployment())
            with store_errors():
                done = self._scripts.run(Call("deploy", (keys.DEPLOYMENTS,), (model, before, _encode(after))))
            if done:
                return after
        raise StoreUnavailable(f"others change model {model!r} all the time", retry_after_s=1)
