"""How long the next batch will take, by the ones before it."""

from collections import deque

#: Batches looked back on.
REMEMBERED = 8
#: How many times the fastest of them, a row, the slowest may have taken: beyond that nothing is foreseen.
STEADY = 2.0


class Pace:
    def __init__(self) -> None:
        self._per_row_s: deque[float] = deque(maxlen=REMEMBERED)

    def note(self, rows: int, took_s: float) -> None:
        self._per_row_s.append(took_s / rows)

    def expected_s(self, rows: int) -> float | None:
        """Rather too short than too long; None where batches differ so that nothing can be said."""
        if len(self._per_row_s) < REMEMBERED:
            return None
        fastest, slowest = min(self._per_row_s), max(self._per_row_s)
        return rows * fastest if slowest <= STEADY * fastest else None
