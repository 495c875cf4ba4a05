"""Which versions of a model ought to be served: its manifest's policy, and what an operator has said since.

Pure; the gateway and the workers decide by the same function.
"""

from collections.abc import Collection, Sequence
from typing import Literal

from models.manifest import VersionPolicy


def by_policy(
    versions: Sequence[str], policy: Literal["all"] | VersionPolicy, *, failed: Collection[str] = ()
) -> list[str]:
    """Those of `versions` (oldest first) that the policy alone asks for, oldest first.

    `failed` could not be loaded: they stay wanted, as a later try may succeed, and `latest` reaches one further back
    for each, so that an older version serves meanwhile.
    """
    if policy == "all":
        return list(versions)
    if policy.specific is not None:
        named = set(map(str, policy.specific))
        return [version for version in versions if version in named]
    left, chosen = policy.latest or 1, []
    for version in reversed(versions):
        if not left:
            break
        chosen.append(version)
        left -= version not in failed
    return chosen[::-1]


def wanted(
    versions: Sequence[str],
    policy: Literal["all"] | VersionPolicy,
    *,
    pinned: Collection[str] = (),
    unloaded: Collection[str] = (),
    failed: Collection[str] = (),
) -> list[str]:
    """The versions to serve, oldest first: the policy's and those `pinned`, as if those `unloaded` were not there."""
    left = [version for version in versions if version not in unloaded]
    chosen = {*by_policy(left, policy, failed=failed), *pinned}
    return [version for version in left if version in chosen]
