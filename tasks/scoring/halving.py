"""A shard that failed as a whole, in halves: down to the row that it was."""

from collections.abc import Sequence

import msgspec
import pyarrow as pa

from errors import JobFailure
from models.columns import CUSTOM_ID, ROW, read_file
from storage.job import Job
from storage.objects import Objects
from storage.scoring import Failure
from tasks.scoring.cutting import put_rows
from tasks.scoring.merging import failed_rows, merge_failures
from tasks.scoring.pacing import halved
from tasks.scoring.shard import Places, Shard


class Problem(msgspec.Struct, frozen=True):
    """Of a problem document, what a row's failure has."""

    code: str = "model_error"
    detail: str = ""
    retryable: bool = False


_problem = msgspec.json.Decoder(Problem).decode


def read_rows(objects: Objects, key: str) -> pa.Table:
    """A rows file, whole."""
    return read_file(objects.read(key))


def put_failures(objects: Objects, key: str, failures: Sequence[Failure]) -> None:
    merge_failures(objects, [failures], key)


def halves(objects: Objects, places: Places, shard: Shard, number: int, max_items: int) -> list[Shard]:
    """Two shards, numbered from `number` on, in place of one; their files are written."""
    table = read_rows(objects, shard.rows_key)
    first = halved(table.num_rows, max_items)
    middle = table.column(ROW)[first].as_py()
    unread = list(failed_rows(objects, shard.unread_key)) if shard.unread_key else []
    found = []
    for rows, start, end in (
        (table.slice(0, first), shard.start, middle), (table.slice(first), middle, shard.end),
    ):  # fmt: skip
        half = Shard(
            number=number, start=start, end=end, rows=rows.num_rows, rows_key=places.half_of(number), half=True,
            losses=shard.losses,
        )  # fmt: skip
        if own := [one for one in unread if start <= one.row < end]:
            put_failures(objects, places.unread_of(number), own)
            half = msgspec.structs.replace(half, unread=len(own), unread_key=places.unread_of(number))
        put_rows(objects, half.rows_key, rows)
        found.append(half)
        number += 1
    return found


def problem_of(job: Job) -> Problem:
    """Why a shard's job ended badly."""
    if not job.error:
        # Canceled by nobody here, as by an operator's hand: it runs again.
        return Problem("canceled", f"the job is {job.status}")
    try:
        return _problem(job.error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Problem(detail=JobFailure.title())


def failure_of(job: Job, objects: Objects, shard: Shard) -> Failure:
    """The failure of a shard's only row."""
    table = read_rows(objects, shard.rows_key)
    named = CUSTOM_ID in table.column_names
    problem = problem_of(job)
    return Failure(
        row=table.column(ROW)[0].as_py(), custom_id=table.column(CUSTOM_ID)[0].as_py() if named else None,
        code=problem.code, detail=problem.detail, retryable=problem.retryable,
    )  # fmt: skip
