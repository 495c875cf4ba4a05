"""Push jobs straight to RabbitMQ, without the gateway, and collect what comes of them.

import penstock

rows = ({"text": line} for line in open("lines.txt"))
for row in penstock.push("minilm", rows, version="1", broker="amqp://…", redis="redis://…"):
    print(row.number, row.outputs or row.error)

`pip install './client[push]'` brings what it takes: pika and redis. docs/messages.md describes the messages.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Unpack

from penstock.client import Penstock
from penstock.errors import InvalidInput, NotReady, PenstockError, StillRunning
from penstock.push_link import Link
from penstock.push_message import Address, Envelope, new_id, options, rows_of, shards, signing_key_of
from penstock.push_replies import Replies
from penstock.push_results import End, Ends, Records
from penstock.push_rows import Progress, PushedRow, Run
from penstock.submission import JobOptions, Submission

__all__ = ["Progress", "PushedRow", "Pusher", "push"]

#: Messages without the broker's confirm.
WINDOW = 512
#: Seconds for which a broker or a Redis that is away, or takes nothing, is waited for.
PATIENCE_S = 30.0
#: Rows in one message, and bytes of their values as JSON.
SHARD_ROWS, SHARD_BYTES = 256, 48 * 1024
#: Messages whose results are not collected yet.
AHEAD = 256
#: One wait for results, seconds.
TAKE_S = 0.2


class Pusher:
    """Pushes jobs to one farm's RabbitMQ; for one thread. Close it, or use it in a `with` block.

    `broker` and `redis` default to PENSTOCK_BROKER_URL and PENSTOCK_REDIS_URL, `signing_key` to PENSTOCK_SIGNING_KEY
    (or the file that PENSTOCK_SIGNING_KEY_FILE names). What becomes of jobs is read from Redis, or, with `replies` (the
    default where no Redis is named), from answers in a queue at the broker. `client` reads outputs that are larger than
    64 KiB from the gateway; without one, PENSTOCK_URL says where that is. Who can push can push for every tenant:
    `tenant` says whose jobs they are. Raises ImportError where pika is missing.
    """

    def __init__(
        self,
        broker: str | None = None,
        *,
        redis: str | None = None,
        client: Penstock | None = None,
        tenant: str = "local",
        signing_key: str | None = None,
        replies: bool | None = None,
        window: int = WINDOW,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._broker = broker or os.environ.get("PENSTOCK_BROKER_URL") or ""
        self._redis = redis or os.environ.get("PENSTOCK_REDIS_URL", "")
        self._replies = not self._redis if replies is None else replies
        self._tenant = tenant
        self._key = signing_key_of(signing_key)
        self._patience_s = patience_s
        self._client = client
        self._own_client: Penstock | None = None
        self._ends: Ends | None = None
        self._link = Link(self._broker, window=window, patience_s=patience_s)

    def submit(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        version: str,
        pool: str = "cpu",
        job_id: str | None = None,
        **more: Unpack[JobOptions],
    ) -> str:
        """Push one job; returns its id once the broker has confirmed it.

        With a `job_id` of your own the same job can be pushed again: it runs once. Raises UnknownModel where no queue
        is declared for it; QueueFull, BrokerUnavailable or AccessError where the broker did not take it.
        """
        submission: Submission = {"model": model, "inputs": inputs, "version": version, **more}
        [outcome] = self.submit_many([submission], pool, [job_id or new_id()])
        if isinstance(outcome, PenstockError):
            raise outcome
        return outcome

    def submit_many(
        self, submissions: Iterable[Submission], pool: str = "cpu", job_ids: Iterable[str] | None = None
    ) -> list[str | PenstockError]:
        """Push many jobs: for each, in order, its id (one of `job_ids`, or new), or why the broker refused it.

        Each names its `version`. Raises what `submit` raises where the broker takes no more at all.
        """
        ids: list[str] = []
        named = iter(job_ids or ())
        for submission in submissions:
            inputs, more = options(submission)
            ids.append(next(named, "") or new_id())
            self._link.put(self._envelope(submission, pool, more).message(ids[-1], inputs))
        refused = self._link.flush()
        return [refused.get(id, id) for id in ids]

    def rows(
        self,
        model: str,
        rows: Any,
        *,
        version: str,
        pool: str = "cpu",
        run: str | None = None,
        shard_rows: int = SHARD_ROWS,
        ahead: int = AHEAD,
        progress: Callable[[Progress], None] | None = None,
        **more: Unpack[JobOptions],
    ) -> Iterator[PushedRow]:
        """Push a table's rows, many in a message, and yield what the model made of each, in their order.

        `rows`: mappings of the model's inputs to one row's values; or a pandas, polars or Arrow table whose columns are
        the inputs, or a mapping of such columns. Read as results are taken, at most `ahead` messages of `shard_rows`
        rows in advance, so that endless ones will do. `priority` is `low` unless given. `run`, unique for ever, begins
        the jobs' ids: the same rows pushed again under it (after a crash) run once, with the same `shard_rows`.

        A row's own failure stands in its `error`. Raises what `submit` raises; StoreUnavailable where Redis is away for
        `patience_s`; InvalidInput for a row that has not the first one's inputs.
        """
        submission: Submission = {"model": model, "inputs": {}, "version": version, "priority": "low", **more}
        envelope = self._envelope(submission, pool, options(submission)[1])
        cut = shards(rows_of(rows), run=run or new_id(), most_rows=max(1, shard_rows), most_bytes=SHARD_BYTES)
        found = Run(self._link, self._listening(), envelope, cut, ahead=ahead, fetch=self._fetch, progress=progress)
        return iter(found)

    def results(
        self, job_ids: Iterable[str], *, timeout_s: float | None = None
    ) -> Iterator[Mapping[str, Any] | PenstockError]:
        """Outputs of jobs that were pushed, in the order given, each as soon as it and those before have ended.

        In place of outputs the error of a job that failed. Raises StillRunning after `timeout_s`. Answers in a queue
        come to the Pusher that pushed the job, once; while it collects those of other jobs, it keeps the last 10,000
        nobody has asked for. What others pushed, or is asked for later or twice, takes `redis`.
        """
        waiting, ended = list(job_ids), dict[str, End]()
        until = None if timeout_s is None else time.monotonic() + timeout_s
        ends = self._listening()
        ends.expect(waiting)
        for id in waiting:
            while id not in ended:
                if until is not None and time.monotonic() >= until:
                    raise StillRunning(f"{id} has not ended after {timeout_s:g} s")
                ended |= {end.id: end for end in ends.take(TAKE_S)}
            yield self._outcome(ended[id])

    def result(self, job_id: str, *, timeout_s: float | None = None) -> Mapping[str, Any]:
        """The outputs of a job that was pushed; raises its failure, or StillRunning after `timeout_s`."""
        [outcome] = self.results([job_id], timeout_s=timeout_s)
        if isinstance(outcome, PenstockError):
            raise outcome
        return outcome

    def close(self) -> None:
        """Close the connections; jobs that were pushed go on."""
        self._link.close()
        if self._ends is not None:
            self._ends.close()
        if self._own_client is not None:
            self._own_client.close()

    def __enter__(self) -> "Pusher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _envelope(self, submission: Submission, pool: str, more: dict[str, Any]) -> Envelope:
        if not (version := submission.get("version")):
            raise InvalidInput(f"say which version of {submission['model']!r}: a message names one")
        priority = submission.get("priority") or "normal"
        where = Address(model=submission["model"], version=version, pool=pool, priority=priority, tenant=self._tenant)
        ends = self._listening() if self._replies else None
        return Envelope(where, more, self._key, ends.address if isinstance(ends, Replies) else "")

    def _listening(self) -> Ends:
        if self._ends is None:
            if self._replies:
                self._ends = Replies(self._broker, patience_s=self._patience_s)
            elif self._redis:
                self._ends = Records(self._redis, patience_s=self._patience_s)
            else:
                raise ValueError(
                    "results are read from Redis: give `redis`, set PENSTOCK_REDIS_URL, or ask for `replies`"
                )
        return self._ends

    def _outcome(self, end: End) -> Mapping[str, Any] | PenstockError:
        if end.error is not None:
            return end.error
        try:
            return end.outputs if end.outputs is not None else self._fetch(end.id)
        except PenstockError as error:
            return error

    def _fetch(self, job_id: str) -> Mapping[str, Any]:
        """Outputs that Redis does not hold."""
        client = self._client or self._own_client
        if client is None:
            if not os.environ.get("PENSTOCK_URL"):
                raise NotReady(
                    f"the outputs of {job_id} are larger than Redis holds: give `client`, or set PENSTOCK_URL, so that "
                    "they can be read through the gateway"
                )
            client = self._own_client = Penstock()
        return client.jobs.result(job_id)


def push(
    model: str,
    rows: Any,
    *,
    version: str,
    broker: str | None = None,
    redis: str | None = None,
    client: Penstock | None = None,
    tenant: str = "local",
    signing_key: str | None = None,
    pool: str = "cpu",
    run: str | None = None,
    shard_rows: int = SHARD_ROWS,
    progress: Callable[[Progress], None] | None = None,
    **more: Unpack[JobOptions],
) -> Iterator[PushedRow]:
    """Push a table's rows straight to RabbitMQ, and yield what the model made of each, in their order.

    See `Pusher` and `Pusher.rows` for what the arguments mean and what is raised. The connections are closed once the
    last row is taken, or the iterator is.
    """
    pusher = Pusher(broker, redis=redis, client=client, tenant=tenant, signing_key=signing_key)
    found = pusher.rows(
        model, rows, version=version, pool=pool, run=run, shard_rows=shard_rows, progress=progress, **more
    )
    return closing(pusher, found)


def closing(pusher: Pusher, rows: Iterator[PushedRow]) -> Iterator[PushedRow]:
    with pusher:
        yield from rows
