"""`client.map`: a model over many items, a window of jobs at a time, in few requests.

Written by `python -m client.twin` from penstock.mapping: change that.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from penstock.aio.streams import each
from penstock.arrays import columns
from penstock.errors import Away, Busy, PenstockError
from penstock.job import Job
from penstock.mapping import LONG_POLL_S, LOOK_S, PATIENCE_S, PAUSE_S, SLOW_S, MapProgress, OnProgress
from penstock.push_message import rows_of
from penstock.submission import Options, Submission

if TYPE_CHECKING:
    from penstock.aio.jobs import AsyncJobs
    from penstock.aio.transport import AsyncTransport


class AsyncMapRun:
    """One map on its way; items are known by their place."""

    def __init__(
        self,
        jobs: "AsyncJobs",
        transport: "AsyncTransport",
        model: str,
        options: Options,
        *,
        concurrency: int,
        ordered: bool,
        return_errors: bool,
        as_numpy: bool,
        progress: OnProgress | None,
    ) -> None:
        if not 1 <= concurrency <= 1000:
            raise ValueError(f"concurrency is {concurrency}; it lies between 1 and 1000")
        self._jobs, self._transport, self._model, self._options = jobs, transport, model, options
        self._window, self._ordered, self._return_errors = concurrency, ordered, return_errors
        self._as_numpy, self._progress = as_numpy, progress
        self._clock = transport.clock
        #: Read and not accepted; accepted and running, by job id; ended and not yielded.
        self._unsent: dict[int, Any] = {}
        self._running: dict[str, int] = {}
        self._ended: dict[int, Any] = {}
        self._read = self._next = self._done = self._failed = 0
        #: The model's only input, once an item is one.
        self._input: str | None = None
        #: Items sent together: the first goes alone, so that its outputs come soon.
        self._together = 1
        self._looked = self._clock()
        self._refused_since: float | None = None

    async def outcomes(self, items: Any) -> AsyncIterator[Any]:
        """Outputs, or errors, as they come or in the order of the items."""
        came = self._clock()
        async for item in each(rows_of(items) if columns(items) is not None else items):
            self._unsent[self._read] = item
            self._read += 1
            if len(self._unsent) >= self._together or self._clock() - came > SLOW_S:
                await self._send()
            if self._running and self._clock() - self._looked > LOOK_S:
                await self._look(0.0)
            for yielded in self._take():
                yield yielded
            while self._full():
                await self._step()
                for yielded in self._take():
                    yield yielded
            came = self._clock()
        while self._running or self._unsent:
            await self._step()
            for yielded in self._take():
                yield yielded

    def _full(self) -> bool:
        return len(self._unsent) + len(self._running) + len(self._ended) >= self._window

    async def _step(self) -> None:
        """Send what is to be sent, or wait until something has ended."""
        if self._unsent:
            await self._send()
        if self._running:
            await self._look(0.0 if self._unsent and len(self._running) < self._window // 2 else LONG_POLL_S)

    async def _send(self) -> None:
        """Submit all that is unsent; what the farm has no room for stays unsent for a moment."""
        batch, self._unsent = self._unsent, {}
        submissions = [await self._submission(item) for item in batch.values()]
        pause_s = 0.0
        for place, outcome in zip(batch, await self._jobs.submit_many(submissions), strict=True):
            if isinstance(outcome, Job):
                self._running[outcome.id] = place
                self._refused_since = None
            elif isinstance(outcome, Busy | Away) and self._patient():
                self._unsent[place] = batch[place]
                pause_s = max(pause_s, outcome.retry_after_s or PAUSE_S)
            else:
                self._end(place, outcome)
        self._together = min(self._together * 2, max(1, self._window // 4))
        if self._unsent:
            await self._transport.sleep(pause_s)

    def _patient(self) -> bool:
        """True while it is worth sending again what was refused: jobs of ours run, or the farm may have room soon."""
        now = self._clock()
        if self._refused_since is None or self._running:
            self._refused_since = now
        return now - self._refused_since < PATIENCE_S

    async def _submission(self, item: Any) -> Submission:
        """The job that an item means: inputs by name, or the value of a model's only one."""
        if not isinstance(item, Mapping) and columns(item) is None:
            if self._input is None:
                self._input = await self._jobs.only_input(self._model, self._options.get("version"))
            item = {self._input: item}
        return {"model": self._model, "inputs": item, **self._options}

    async def _look(self, wait_s: float) -> None:
        """Collect what has ended; waits for the first end."""
        began = self._clock()
        found = await self._jobs.collect(self._running, wait_s=wait_s)
        self._looked = self._clock()
        for id, outcome in found.items():
            if id in self._running:
                self._end(self._running.pop(id), await self._outputs(outcome))
        if not found and self._looked - began < wait_s / 2:
            # Too many wait at this gateway: it answered at once.
            await self._transport.sleep(PAUSE_S)

    async def _outputs(self, outcome: Job | PenstockError) -> Any:
        if isinstance(outcome, PenstockError):
            return outcome
        try:
            outcome.raise_for_failure()
            if self._as_numpy or outcome.outputs is None:
                return await self._jobs.result(outcome, as_numpy=self._as_numpy)
            return outcome.outputs
        except PenstockError as error:
            return error

    def _end(self, place: int, outcome: Any) -> None:
        self._ended[place] = outcome
        self._done += 1
        self._failed += isinstance(outcome, PenstockError)
        if self._progress is not None:
            self._progress(MapProgress(self._read, self._done, self._failed))

    def _take(self) -> Iterator[Any]:
        """What can be yielded now; raises the first error unless errors are wanted."""
        while self._ended and (not self._ordered or self._next in self._ended):
            outcome = self._ended.pop(self._next if self._ordered else next(iter(self._ended)))
            self._next += 1
            if isinstance(outcome, PenstockError) and not self._return_errors:
                raise outcome
            yield outcome
