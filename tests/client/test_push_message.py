"""What `penstock.push` writes is what workers read."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas  # type: ignore[import-untyped]
import polars
import pyarrow
import pytest
from penstock import InvalidInput, Pusher, UnexpectedAnswer
from penstock.push_link import parameters
from penstock.push_message import Address, Envelope, Shard, new_id, options, rows_of, shards, signing_key_of
from penstock.push_results import end
from penstock.push_rows import divided

from tasks.message import decode
from tasks.signing import Signing

KEY = "penstock-penstock-penstock-penstock"


def cut(rows: Any, *, most_rows: int = 4, most_bytes: int = 10_000) -> list[Shard]:
    return list(shards(rows_of(rows), run="run", most_rows=most_rows, most_bytes=most_bytes))


def test_job_is_a_message_of_the_schema_with_all_that_was_said() -> None:
    inputs, more = options(
        {
            "model": "echo", "version": "1", "inputs": {"x": np.ones(2)}, "metadata": {"a": 1}, "timeout_s": 5,
            "webhook": "https://erp.example/hook", "deadline": "2030-01-01T00:00:00Z", "max_attempts": 2,
        }
    )  # fmt: skip
    where = Address(model="echo", version="1", priority="high", tenant="acme")
    made = Envelope(where, more).message("job-1", inputs)
    read = decode(made.body)
    assert (read.id, read.queue, read.tenant, bytes(read.inputs)) == (made.id, made.queue, "acme", b'{"x":[1.0,1.0]}')
    assert read.webhook is not None
    assert (read.webhook.url, read.max_attempts, read.timeout_s) == ("https://erp.example/hook", 2, 5)


def test_message_is_signed_as_workers_check_it() -> None:
    made = Envelope(Address(model="echo", version="1"), {}, KEY).message("job-1", b"{}")
    Signing([KEY.encode()]).check(made.body)
    assert decode(made.body).id == "job-1"


def test_key_comes_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert signing_key_of(None) == ""
    monkeypatch.setenv("PENSTOCK_SIGNING_KEY", f"{KEY},the-one-before")
    assert signing_key_of(None) == KEY
    (tmp_path / "key").write_text("another\n")
    monkeypatch.setenv("PENSTOCK_SIGNING_KEY_FILE", str(tmp_path / "key"))
    assert (signing_key_of(None), signing_key_of("given")) == ("another", "given")


def test_rows_are_cut_by_number_and_by_size_and_keep_their_values() -> None:
    found = cut([{"x": [n, n], "t": f"é{n}"} for n in range(10)])
    assert [(one.start, len(one.rows)) for one in found] == [(0, 4), (4, 4), (8, 2)]
    message = Envelope(Address(model="m", version="1"), {}).shard(found[2])
    assert (decode(message.body).rows, bytes(decode(message.body).inputs).decode()) == (
        2, '{"x":[[8,8],[9,9]],"t":["é8","é9"]}',
    )  # fmt: skip
    long = cut([{"t": "x" * size} for size in (10, 90, 30, 30, 500, 10)], most_bytes=100)
    assert [len(one.rows) for one in long] == [1, 1, 2, 1, 1]
    assert [one.id for one in found[0].singles()][1:2] == ["run-0000000000-1"]


@pytest.mark.parametrize(
    "table",
    [
        {"x": [1, 2, 3], "t": ["a", "b", "c"]},
        pandas.DataFrame({"x": [1, 2, 3], "t": ["a", "b", "c"]}),
        polars.DataFrame({"x": [1, 2, 3], "t": ["a", "b", "c"]}),
        pyarrow.table({"x": [1, 2, 3], "t": ["a", "b", "c"]}),
        iter([{"x": 1, "t": "a"}, {"t": "b", "x": 2}, {"x": 3, "t": "c"}]),
    ],
    ids=["columns", "pandas", "polars", "arrow", "mappings"],
)
def test_every_kind_of_table_makes_the_same_rows(table: Any) -> None:
    [shard] = cut(table)
    assert shard.inputs() == b'{"x":[1,2,3],"t":["a","b","c"]}'


@pytest.mark.parametrize("rows", [[1], [{}], [{"x": 1}, {"y": 1}], [{"x": 1}, {"x": 1, "y": 2}]])
def test_rows_that_do_not_fit_are_named(rows: list[Any]) -> None:
    with pytest.raises(InvalidInput, match=f"row {len(rows) - 1} "):
        cut(rows)


def test_values_that_json_has_no_form_for_are_refused_with_their_place() -> None:
    with pytest.raises(InvalidInput, match="1/x"):
        cut([{"x": 1}, {"x": object()}])
    with pytest.raises(InvalidInput, match="not expressible"):
        cut([{"x": float("nan")}])
    with pytest.raises(InvalidInput, match="too large for a message"):
        options({"model": "m", "inputs": {"x": b"x" * 2_000_000}})


def test_ids_sort_by_time_and_are_names() -> None:
    ids = [new_id() for _ in range(3)]
    assert sorted(ids) == ids
    assert all(id.replace("_", "").isalnum() for id in ids)


def test_ends_are_read_from_the_records_fields() -> None:
    assert end("a", "succeeded", {"y": [1]}, None, None).outputs == {"y": [1]}
    assert end("a", "succeeded", None, "acme/results/a", None).large
    failed = end("a", "failed", None, None, {"code": "model_error", "detail": "bad"}).error
    assert (type(failed).__name__, str(failed)) == ("ModelError", "bad")
    assert type(end("a", "canceled", None, None, None).error).__name__ == "JobCanceled"


def test_outputs_that_are_not_one_a_row_are_told() -> None:
    assert divided({"y": [1, 2]}, 2) == [{"y": 1}, {"y": 2}]
    with pytest.raises(UnexpectedAnswer, match="'y' has not one value"):
        divided({"y": [1, 2, 3]}, 2)


@pytest.mark.parametrize(
    ("path", "vhost"), [("", "/"), ("/", "/"), ("//", "/"), ("/%2F", "/"), ("/penstock", "penstock"), ("/a%2Fb", "a/b")]
)
def test_brokers_address_names_the_vhost_as_the_farms_settings_do(path: str, vhost: str) -> None:
    import pika

    assert parameters(pika, f"amqp://user:secret@rabbit:5672{path}").virtual_host == vhost


def test_pushing_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="amqp://user:password@host/vhost"):
        Pusher("redis://127.0.0.1")
    with Pusher("amqp://127.0.0.1", replies=False) as pusher:
        with pytest.raises(ValueError, match="PENSTOCK_REDIS_URL"):
            pusher.result("a")
        with pytest.raises(InvalidInput, match="which version"):
            pusher.submit("echo", {}, version="")
    monkeypatch.setitem(sys.modules, "pika", None)
    with pytest.raises(ImportError, match=r"pip install 'penstock\[push\]'"):
        Pusher("amqp://127.0.0.1")
