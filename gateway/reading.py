"""Records read for many requests in one round trip."""

from errors import PenstockError
from gateway.grouping import Grouped
from gateway.suspending import Signal
from storage.job import Job
from storage.jobs import JobStore

#: Records read in one round trip.
GROUP = 64
#: Longer than the store's client takes to give up, seconds.
PATIENCE_S = 60.0


class Reader:
    """Reads jobs' records."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self._asked: Grouped[tuple[str, Signal[Job | PenstockError | None]]] = Grouped("reader", self._read, most=GROUP)

    async def get(self, id: str) -> Job | None:
        """The record as `JobStore.get` gives it; raises StoreUnavailable."""
        signal: Signal[Job | PenstockError | None] = Signal()
        self._asked.add([(id, signal)])
        await signal.within(PATIENCE_S)
        if isinstance(signal.value, PenstockError):
            raise signal.value
        return signal.value

    def close(self) -> None:
        self._asked.close()

    def _read(self, asked: list[tuple[str, Signal[Job | PenstockError | None]]]) -> None:
        try:
            jobs: list[Job | None] = self._jobs.get_all([id for id, _ in asked])
        except PenstockError as error:
            for _, signal in asked:
                signal.set(error)
            return
        for (_, signal), job in zip(asked, jobs, strict=True):
            signal.set(job)
