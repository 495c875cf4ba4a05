"""The front door: one farm, one key, and what they offer."""

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Unpack

from penstock.dead_letters import DeadLetters
from penstock.errors import StillRunning
from penstock.inputs import Inputs
from penstock.jobs import Jobs
from penstock.mapping import MapRun, OnProgress
from penstock.models import Models
from penstock.objects import Objects
from penstock.queues import Queues, queues
from penstock.scorings import Scorings
from penstock.submission import Options
from penstock.version import __version__
from penstock.webhooks import Webhooks

DEFAULT_URL = "http://127.0.0.1:8080"
#: Seconds the gateway may take to answer; a long poll's wait comes on top.
TIMEOUT_S = 30.0
#: Seconds during which a request that found the gateway away or busy is repeated.
RETRY_FOR_S = 15.0


class Penstock:
    """A client of one farm, safe to share between threads; close it, or use it in a `with` block.

    `url` and `api_key` default to PENSTOCK_URL (else http://127.0.0.1:8080) and PENSTOCK_API_KEY.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        retry_for_s: float = RETRY_FOR_S,
    ) -> None:
        # httpx takes longer to import than everything else together: `penstock --version` goes without.
        from penstock.transport import Transport

        self.url = checked(url or os.environ.get("PENSTOCK_URL") or DEFAULT_URL)
        key = api_key or os.environ.get("PENSTOCK_API_KEY")
        self._transport = Transport(
            self.url, key, user_agent=f"penstock/{__version__}", timeout_s=timeout_s, retry_for_s=retry_for_s
        )
        self.objects = Objects(self._transport)
        self.models = Models(self._transport)
        self.dead_letters = DeadLetters(self._transport)
        self.webhooks = Webhooks(self._transport)
        self.jobs = Jobs(self._transport, self._upload)
        self.scorings = Scorings(self._transport, self.objects)

    def run(
        self,
        model: str,
        inputs: Inputs,
        *,
        wait_s: float = math.inf,
        as_numpy: bool = False,
        **options: Unpack[Options],
    ) -> dict[str, Any]:
        """Submit, wait and return the outputs::

            outputs = client.run("minilm", {"text": ["a sentence", "another one"]})
            vectors = client.run("minilm", frame[["text"]], as_numpy=True)["embedding"]

        `inputs` and `options` are those of `jobs.submit`. With `as_numpy` numbers are arrays, in the datatypes that the
        model declares. Raises the job's failure, or StillRunning after `wait_s` seconds; the job goes on then.
        """
        job = self.jobs.submit(model, inputs, wait_s=wait_s, **options)
        if not job.done:
            raise StillRunning(f"{job.id} is {job.status} after {wait_s:g} s")
        job.raise_for_failure()
        if as_numpy or job.outputs is None:
            return self.jobs.result(job, as_numpy=as_numpy)
        return job.outputs

    def map(
        self,
        model: str,
        items: Iterable[Any],
        *,
        concurrency: int = 128,
        ordered: bool = True,
        return_errors: bool = False,
        as_numpy: bool = False,
        progress: OnProgress | None = None,
        **options: Unpack[Options],
    ) -> Iterator[Any]:
        """Run a model on each of many items, and yield the outputs, in the order of the items or as they come::

            for outputs in client.map("minilm", ({"text": line} for line in lines), concurrency=256):
                print(outputs["embedding"])

        An item is what `inputs` are in `run`, or the value of a model's only input; a table's items are its rows. At
        most `concurrency` (1,000) of them are read in advance, so that endless ones will do. With `return_errors` an
        item that failed yields its error, and the others go on; else the first error is raised. `progress` is told how
        many were read, have ended and failed. Jobs that were submitted go on when you stop early. For a table that
        should outlive this program there is `client.scorings`.
        """
        run = MapRun(
            self.jobs, self._transport, model, options, concurrency=concurrency, ordered=ordered,
            return_errors=return_errors, as_numpy=as_numpy, progress=progress,
        )  # fmt: skip
        return run.outcomes(items)

    def queues(self) -> Queues:
        """What waits, model by model, and how long that will take."""
        return queues(self._transport)

    def refused_messages(self, *, limit: int = 100) -> list[dict[str, Any]]:
        """What was pushed to the broker and is no job, the newest first; takes an admin key."""
        found = self._transport.send("GET", "/v1/refused-messages", query={"limit": limit}).json()
        return [*found.get("data", ())]

    def close(self) -> None:
        """Close the connections; the client is of no use afterwards."""
        self._transport.close()

    def __enter__(self) -> "Penstock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _upload(self, source: bytes | Path) -> str:
        return self.objects.upload(source).id


def checked(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"the farm's address is {url!r}; it must start with http:// or https://")
    return url.rstrip("/")
