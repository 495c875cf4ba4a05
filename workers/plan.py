"""What a worker should begin and what it should end, of one model. Pure: the same look gives the same answer."""

from collections.abc import Collection, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

import msgspec

from models.catalog import Entry
from models.manifest import VersionPolicy
from models.policy import wanted


class Held(Protocol):
    """A version that this worker has begun to serve."""

    @property
    def entry(self) -> Entry: ...
    @property
    def ready(self) -> bool: ...
    @property
    def failed(self) -> bool: ...


H = TypeVar("H", bound=Held)


class Plan(NamedTuple, Generic[H]):
    start: list[Entry]
    #: To be ended once every job accepted for them has run.
    drain: list[H]
    #: To be ended now, as the same version, made anew, has taken over.
    replaced: list[H]


def plan(
    entries: Sequence[Entry],
    held: Sequence[H],
    *,
    pinned: Collection[str] = (),
    unloaded: Collection[str] = (),
    waiting: Collection[str] = (),
) -> Plan[H]:
    """Compare what the repository and the operator want with what is `held`.

    `entries`: the model's versions in this worker's pool, oldest first; `waiting`: versions with jobs that wait and
    that nobody else serves, whatever is wanted of them: those jobs were accepted. A version that is no longer wanted
    is held until one that is wanted serves in its place.
    """
    by_version = {entry.version: entry for entry in entries}
    states = [(one.entry.version, one.ready, one.failed) for one in held]
    ready = {version for version, ready, _ in states if ready}
    failed = {version for version, _, failed in states if failed} - ready
    policy = entries[-1].manifest.version_policy if entries else VersionPolicy(latest=1)
    want = wanted(list(by_version), policy, pinned=pinned, unloaded=unloaded, failed=failed)
    needed = [*want, *(version for version in by_version if version in waiting and version not in want)]
    found: Plan[H] = Plan([], [], [])
    for version in needed:
        if not any(same(one.entry, by_version[version]) for one in held):
            found.start.append(by_version[version])
    settled = not want or bool(ready.intersection(want) and ready.issuperset(set(want) - failed))
    for one in held:
        newer = by_version.get(one.entry.version)
        if newer is not None and not same(one.entry, newer):
            if any(other.ready and same(other.entry, newer) for other in held):
                found.replaced.append(one)
        elif one.entry.version not in want and (settled or one.entry.version in unloaded):
            found.drain.append(one)
    return found


def same(one: Entry, other: Entry) -> bool:
    """Whether two entries are the same content, to be run in the same way."""
    return (one.path, one.inode) == (other.path, other.inode) and plain(one) == plain(other)


def plain(entry: Entry) -> object:
    """The manifest without what decides only which versions are served."""
    return msgspec.structs.replace(entry.manifest, version_policy="all")
