"""Which versions of a model take jobs, and which of them a job gets that asks for none. Pure."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate

import msgspec

from errors import NotLoaded
from models.catalog import Entry
from models.policy import by_policy, wanted
from storage.deployments import STABLE, Deployment
from storage.workers import ModelStatus


class VersionState(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a model."""

    version: str
    #: ready, loading, failed, draining (no job is accepted for it, those that were are run), no_worker (it should be
    #: served, and nobody does), not_loaded (it need not be) or broken (its manifest or folder is).
    state: str
    #: Why it failed, or is broken.
    reason: str | None = None
    labels: tuple[str, ...] = ()
    #: Its share of the jobs that ask for no version, between 0 and 1.
    share: float = 0.0


class Choice:
    """Where the jobs of one model go, as versions, labels and traffic are now; never changed."""

    def __init__(
        self, entries: Sequence[Entry], deployment: Deployment, statuses: Mapping[str, Sequence[ModelStatus]]
    ) -> None:
        """`entries`: oldest first; `statuses`: by version, what workers of the pool its jobs go to say of it."""
        self.deployment = deployment
        #: Every version, oldest first.
        self.entries = {entry.version: entry for entry in entries}
        self._summaries = {version: summary(statuses.get(version, ())) for version in self.entries}
        failed = {version for version, (state, _) in self._summaries.items() if state == "failed"}
        unloaded = set(deployment.unloaded)
        policy, versions = entries[-1].manifest.version_policy, list(self.entries)
        want = wanted(versions, policy, pinned=deployment.pinned, unloaded=unloaded, failed=failed)
        #: Versions that a worker has ready, oldest first.
        self.ready = [version for version in versions if self._summaries[version][0] == "ready"]
        open_ = [v for v in versions if v in want or (v in self.ready and v not in unloaded)]
        named = by_policy([v for v in versions if v not in unloaded], policy, failed=failed)
        #: Versions that jobs are accepted for, oldest first.
        self.open = tuple(open_)
        #: Versions to weights of the jobs that ask for none; empty: there is no version for them.
        self.split = self._split(named, failed)
        self._names = {version: self.entries[version] for version in open_} | {
            label: self.entries[version] for label, version in deployment.labels.items() if version in open_
        }
        self._ends = list(accumulate(self.split.values()))
        self._targets = [self.entries[version] for version in self.split]

    def _split(self, named: Sequence[str], failed: set[str]) -> dict[str, float]:
        """Traffic, else the label, else the newest that the policy names and a worker has ready, else the likeliest."""
        traffic = {version: weight for version, weight in self.deployment.traffic.items() if version in self.open}
        if traffic:
            return traffic
        stable = self.deployment.labels.get(STABLE)
        if stable in self.open:
            return {str(stable): 1.0}
        for rank in (
            [version for version in named if version in self.ready],
            [version for version in self.open if version in self.ready],
            [version for version in named if version not in failed],
            named,
            self.open,
        ):
            if rank:
                return {rank[-1]: 1.0}
        return {}

    def find(self, name: str) -> Entry | None:
        """The version that a version's name or a label means, where jobs are accepted for it."""
        return self._names.get(name)

    def default(self, roll: float) -> Entry:
        """The version for a job that asks for none; `roll`: a number from 0 to below 1. Raises NotLoaded."""
        if len(self._targets) == 1:
            return self._targets[0]
        if not self._targets:
            raise NotLoaded("no version of this model is loaded: an operator has unloaded each")
        return self._targets[min(bisect_right(self._ends, roll * self._ends[-1]), len(self._targets) - 1)]

    @property
    def main(self) -> Entry:
        """The version that most jobs get which ask for none; the newest where they get none."""
        return self.entries[max(self.split, key=lambda version: self.split[version], default=[*self.entries][-1])]

    def states(self) -> list[VersionState]:
        """Every version, oldest first."""
        whole = sum(self.split.values())
        found = []
        for version, (state, reason) in self._summaries.items():
            if state == "no_worker" and version not in self.open:
                state = "not_loaded"
            labels = tuple(sorted(name for name, target in self.deployment.labels.items() if target == version))
            share = round(self.split.get(version, 0.0) / whole, 6) if whole else 0.0
            found.append(VersionState(version=version, state=state, reason=reason, labels=labels, share=share))
        return found


def summary(statuses: Sequence[ModelStatus]) -> tuple[str, str | None]:
    """The best that any worker can say of one version, and the reason where that is a failure."""
    states = {status.state for status in statuses}
    for state in ("ready", "draining", "loading"):
        if state in states:
            return state, None
    return ("failed", statuses[0].reason) if statuses else ("no_worker", None)
