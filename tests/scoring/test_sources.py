"""Inputs are read in ranges, and never of two versions; in a folder and on a real S3 server."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from errors import InputChanged, InvalidInput, ObjectsUnavailable
from settings import Settings
from storage.inputs import Buckets
from storage.objects import Objects, open_objects
from storage.s3 import S3
from storage.s3server import parse
from storage.scoring import Part
from tasks.scoring import sources
from tasks.scoring.cutting import cuts, look
from tasks.scoring.sources import Source, open_source
from tests.scoring.tables import WRITERS, folder, parquet, scoring

ROWS = [{"x": [i, i + 0.25, -i]} for i in range(3000)]


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.service)])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Objects]:
    if request.param == "folder":
        yield folder(tmp_path)
        return
    store = open_objects(request.getfixturevalue("objects_url"))
    store.delete_prefix("acme/")
    yield store
    store.delete_prefix("acme/")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """So little is read at a time that much is left to read."""
    monkeypatch.setattr(sources, "PIECE_BYTES", 8192)


def bytes_of(format: str, rows: Any) -> bytes:
    if format == "parquet":
        return parquet(rows, use_dictionary=False, compression="none", row_group_size=100)
    return WRITERS[format](rows)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("format", WRITERS)
def test_input_that_changes_while_it_is_read_stops_there(format: str, objects: Objects) -> None:
    spec, source = scoring(objects, [bytes_of(format, ROWS)], format)
    assert look(spec, source) in (-1, 3000)
    reading = cuts(spec, source, shard_rows=50)
    assert next(reading).end == 50
    objects.put(spec.input[0].uri, [bytes_of(format, [{"x": [-1, -1, -1]}] * 3000)])
    with pytest.raises(InputChanged):
        list(reading)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("format", WRITERS)
def test_rows_come_out_of_the_store_as_they_went_in(format: str, objects: Objects) -> None:
    spec, source = scoring(objects, [bytes_of(format, ROWS)], format)
    found = list(cuts(spec, source, shard_rows=1000))
    assert [(cut.start, cut.end, len(cut.failures)) for cut in found] == [
        (0, 1000, 0),
        (1000, 2000, 0),
        (2000, 3000, 0),
    ]


class Away(Source):
    """A source whose store is gone after some reads."""

    left = 8

    def read(self, part: Part, start: int, length: int) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise ObjectsUnavailable("gone")
        return super().read(part, start, length)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("format", WRITERS)
def test_a_store_that_is_away_is_said_to_be_away(format: str, tmp_path: Path) -> None:
    store = folder(tmp_path)
    spec, _ = scoring(store, [bytes_of(format, ROWS)], format)
    with pytest.raises(ObjectsUnavailable):
        list(cuts(spec, Away(spec.input, {part.uri: (store, part.uri) for part in spec.input}), shard_rows=50))


def test_another_tenants_upload_is_not_opened(tmp_path: Path) -> None:
    spec, _ = scoring(folder(tmp_path), [b"x"], "csv")
    with pytest.raises(InvalidInput, match="not the tenant's own"):
        open_source(msgspec.structs.replace(spec, tenant="acm"), folder(tmp_path), Settings())


@pytest.mark.service
@pytest.mark.parametrize("format", WRITERS)
def test_objects_of_an_opened_bucket_are_scored_in_order(format: str, objects_url: str) -> None:
    settings = Settings(objects_url=objects_url, scoring_buckets="lake/in/")
    lake = S3(dataclasses.replace(parse(objects_url), bucket="lake"))
    for number in range(3):
        lake.put(f"in/part-{number}", [WRITERS[format](ROWS[number * 1000 : (number + 1) * 1000])])
    own = open_objects(objects_url)
    spec, _ = scoring(own, [b"x"], format)
    spec = msgspec.structs.replace(spec, input=Buckets(settings).parts("s3://lake/in/part-*"))
    source = open_source(spec, own, settings)
    assert look(spec, source) in (-1, 3000)
    found = list(cuts(spec, source, shard_rows=1200))
    assert [(cut.start, cut.end) for cut in found] == [(0, 1200), (1200, 2400), (2400, 3000)]
    lake.put("in/part-2", [WRITERS[format](ROWS[:1])])
    with pytest.raises(InputChanged, match="part-2"):
        list(cuts(spec, source, shard_rows=1200))
    with pytest.raises(InvalidInput, match="PENSTOCK_SCORING_BUCKETS"):
        open_source(spec, own, dataclasses.replace(settings, scoring_buckets="other"))
    lake.delete_prefix("")
