"""`client.scorings`: the rows of a table through a model, offline.

Written by `python -m client.twin` from penstock.scorings: change that.
"""

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Unpack
from uuid import uuid4

from penstock.aio.objects import AsyncObjects
from penstock.errors import StillRunning, UnexpectedAnswer
from penstock.inputs import encode
from penstock.job import known
from penstock.retry import seconds
from penstock.scoring import RowError, Scoring
from penstock.scorings import (
    FIRST_LOOK_S,
    JSON,
    LATE,
    LOOK_S,
    OUTAGE_S,
    OnProgress,
    ScoringOptions,
    columns,
    parsed,
    path,
    there,
)
from penstock.submission import Priority, to_json
from penstock.tables import format_of, rows_of
from penstock.uploading import Progress

if TYPE_CHECKING:
    from penstock.aio.transport import AsyncTransport


class AsyncScorings:
    """The scorings of this client's tenant. A `Scoring` does where an id is asked for."""

    def __init__(self, transport: "AsyncTransport", objects: AsyncObjects) -> None:
        self._transport = transport
        self._objects = objects

    async def create(
        self,
        model: str,
        input: Any,
        *,
        version: str | None = None,
        format: str | None = None,
        output_format: str | None = None,
        mapping: Mapping[str, str | Iterable[str]] | None = None,
        custom_id: str | None = None,
        keep: Iterable[str] = (),
        parameters: Mapping[str, Any] | None = None,
        priority: Priority = "low",
        max_failed_rows: int | None = None,
        shard_rows: int | None = None,
        result_ttl_s: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        webhook: str | Mapping[str, Any] | None = None,
        dry_run: bool = False,
        idempotency_key: str | None = None,
        progress: Progress | None = None,
    ) -> Scoring:
        """Start a scoring; it is durable once this returns, and goes on without this program.

        `input` is a path (of a JSONL, CSV or Parquet file, of a folder of them, or with `*` in it), an upload or its
        id, a list of these, `s3://bucket/key`, a pandas or polars frame, or any iterable of rows (mappings). Files
        are uploaded, and `progress` is told of each chunk's bytes. A model's inputs are read from the columns of
        their names, or as `mapping` says (input to column, or to the columns that make up a row of it); `keep` passes
        columns through to the output. Raises InvalidInput for what can be refused before a row is read.
        """
        with rows_of(input) as rows:
            sources = [
                one if isinstance(one, str) else (await self._objects.upload(one, progress=progress)).id
                for one in rows.sources
            ]
        body: dict[str, Any] = {
            "model": model,
            "input": rows.uri or ({"object": sources[0]} if len(sources) == 1 else {"objects": sources}),
            "version": version,
            "format": format or rows.format,
            "output_format": output_format,
            "mapping": columns(mapping) if mapping else None,
            "custom_id": custom_id,
            "keep": [*keep] or None,
            "parameters": encode(parameters, pointer="#/parameters") if parameters else None,
            "priority": priority,
            "max_failed_rows": max_failed_rows,
            "shard_rows": shard_rows,
            "result_ttl_s": result_ttl_s,
            "metadata": metadata,
            "webhook": {"url": webhook} if isinstance(webhook, str) else webhook,
            "dry_run": dry_run or None,
        }
        text = to_json({name: value for name, value in body.items() if value is not None})
        headers = JSON | {"Idempotency-Key": idempotency_key or str(uuid4())}
        return parsed(await self._transport.send("POST", "/v1/scorings", headers=headers, body=lambda: text))

    async def get(self, scoring: Scoring | str) -> Scoring:
        """The scoring as it is now."""
        return parsed(await self._transport.send("GET", path(scoring)))

    async def list(
        self, *, status: str | None = None, model: str | None = None, page_size: int = 100
    ) -> AsyncIterator[Scoring]:
        """All scorings that match, newest first; further pages are asked for as they are reached."""
        query: dict[str, str | int] = {"limit": page_size}
        query |= {name: value for name, value in (("status", status), ("model", model)) if value}
        while True:
            page = (await self._transport.send("GET", "/v1/scorings", query=query)).json()
            if not isinstance(page, dict) or not isinstance(page.get("data"), list):
                raise UnexpectedAnswer("the answer is no list: is this address a Penstock gateway?")
            for item in page["data"]:
                yield Scoring.parse(item)
            if not (cursor := page.get("next_cursor")):
                return
            query["cursor"] = cursor

    async def wait(
        self, scoring: Scoring | str, on_progress: OnProgress | None = None, *, timeout_s: float | None = None
    ) -> Scoring:
        """The scoring once it has ended, however; raises StillRunning after `timeout_s` (None: no limit)."""
        began = self._transport.clock()
        until = None if timeout_s is None else began + timeout_s
        patience_s = None
        while True:
            answer = await self._transport.send("GET", path(scoring), patience_s=patience_s)
            found, patience_s = parsed(answer), OUTAGE_S
            if on_progress is not None:
                on_progress(found)
            if found.done:
                return found
            waited_s = self._transport.clock() - began
            pause_s = seconds(answer.headers.get("Retry-After", "")) or LOOK_S
            pause_s = min(pause_s, max(FIRST_LOOK_S, LATE * waited_s))
            if until is not None:
                left_s = until - self._transport.clock()
                if left_s <= 0:
                    raise StillRunning(f"{found.id} is {found.status} after {timeout_s:g} s")
                pause_s = min(pause_s, left_s)
            await self._transport.sleep(pause_s)

    async def cancel(self, scoring: Scoring | str) -> Scoring:
        """Begin no more rows; what is done becomes the output."""
        return parsed(await self._transport.send("POST", path(scoring, "/cancel")))

    async def retry_failed(self, scoring: Scoring | str) -> Scoring:
        """Run the failed rows again, under the same id; raises AlreadyTerminal where there are none."""
        # Asked twice it could run twice: a lost answer is reported, not repeated.
        return parsed(await self._transport.send("POST", path(scoring, "/retry-failed"), repeatable=False))

    async def delete(self, scoring: Scoring | str) -> None:
        """Erase the scoring, its output and its errors; one that has not ended is canceled by it."""
        await self._transport.send("DELETE", path(scoring))

    async def download(self, scoring: Scoring | str, path: str | Path) -> Path:
        """Write the output to `path`, whole or not at all; raises NotReady before there is one."""
        found = await self.get(scoring)
        return await self._objects.download(there(found, found.output, "output").object, path)

    async def errors(self, scoring: Scoring | str) -> AsyncIterator[RowError]:
        """The rows that failed, in the input's order; raises NotReady before the end."""
        found = await self.get(scoring)
        if found.done and found.errors is None:
            return
        file = there(found, found.errors, "file of errors")
        with TemporaryDirectory(prefix="penstock-") as folder:
            stored = await self._objects.download(file.object, Path(folder) / "errors.jsonl")
            with stored.open(encoding="utf-8") as lines:
                for line in lines:
                    yield RowError(**known(RowError, json.loads(line)))

    async def score(
        self,
        model: str,
        input: Any,
        output: str | Path,
        *,
        on_progress: OnProgress | None = None,
        **options: Unpack[ScoringOptions],
    ) -> Scoring:
        """Start, wait, and write the output to `output`; `options` are those of `create`.

        The output's format is that of the file's ending where none is said. Raises the failure of a scoring that
        failed or was canceled; rows that failed are counted in what is returned.
        """
        options.setdefault("output_format", format_of(output))
        done = await self.wait(await self.create(model, input, **options), on_progress)
        done.raise_for_failure()
        if not done.dry_run:
            await self.download(done, output)
        return done
