"""What one measurement's clients did, and when."""

import time
from collections.abc import Callable

from bench.quantiles import quantile


class Log:
    """Counts what ends within the window that begins `ramp_s` after the start and lasts `seconds`.

    Clients work before and after the window just as within it, so its rate is that of steady load. Bodies of many
    jobs are too coarse for that: there the rate is all jobs over the time from the start until the last is done.
    """

    def __init__(self, *, ramp_s: float, seconds: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self.began_s = clock()
        self.from_s = self.began_s + ramp_s
        self.until_s = self.from_s + seconds
        self._seconds = seconds
        self.jobs = self._accepted = 0
        self._within = 0
        self._looks = 0
        self._took: list[float] = []
        self._last_accepted_s = self._last_drained_s = self.began_s

    def open(self) -> bool:
        """Whether a client begins another job."""
        return self._clock() < self.until_s

    def done(self, began_s: float, *, looks: int = 0) -> None:
        """One job has its result."""
        now = self._clock()
        self.jobs += 1
        if self.from_s <= now < self.until_s:
            self._within += 1
            self._looks += looks
            self._took.append(now - began_s)

    def accepted(self, began_s: float, jobs: int) -> None:
        """One body of jobs was accepted."""
        now = self._clock()
        self._accepted += jobs
        self._took.append(now - began_s)
        self._last_accepted_s = now

    def drained(self, jobs: int) -> None:
        """The last job of one body has its result."""
        self.jobs += jobs
        self._last_drained_s = self._clock()

    def figures(self) -> dict[str, float]:
        """Rates and latencies, those of bodies where bodies were sent; empty where no job ended within the window."""
        if not self._took:
            return {}
        took = sorted(self._took)
        latency = {"p50_ms": quantile(took, 0.5) * 1000, "p99_ms": quantile(took, 0.99) * 1000}
        if self._accepted:
            return {
                "jobs_per_s": self.jobs / (self._last_drained_s - self.began_s),
                "accepted_per_s": self._accepted / (self._last_accepted_s - self.began_s),
                **latency,
            }
        return {"jobs_per_s": self._within / self._seconds, "looks_per_job": self._looks / self._within, **latency}
