"""Order statistics of what was timed."""

from collections.abc import Sequence


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of an ordered, non-empty sequence does not exceed (nearest rank)."""
    rank = -(-share * len(ordered) // 1)
    return ordered[max(0, min(len(ordered) - 1, int(rank) - 1))]
