"""Scorings over HTTP: what is refused at once, what stands once one is accepted, and what is served of it."""

import gzip
from collections.abc import Callable
from typing import Any

import pytest

from gateway.scoring_input import by_bytes, by_name
from gateway.views import scorings as scorings_view
from storage import keys
from storage.driven import SHARDS, Hold, take
from storage.job import NewJob
from storage.scoring import Scoring, ScoringStatus
from tests.gateway.gate import Gate
from tests.gateway.test_access import bearer

CSV = b"x,id\n1,a\n2,b\n"
KEY = {"Idempotency-Key": "night-17"}


def upload(gate: Gate, content: bytes = CSV) -> str:
    return str(gate.client.post("/v1/objects", data=content).json["id"])


def wish(gate: Gate, **fields: Any) -> dict[str, Any]:
    return {"model": "narrow", "input": {"object": upload(gate)}} | fields


def start(gate: Gate, **fields: Any) -> Any:
    answer = gate.client.post("/v1/scorings", json=wish(gate, **fields))
    assert answer.status_code == 202, answer.text
    return answer.json


def record(gate: Gate, id: str) -> Scoring:
    found = gate.parts.scorings.get(id)
    assert found is not None
    return found


def drive(gate: Gate, **fields: str | int) -> None:
    """Take the scoring that waits to its end, as its driver does."""
    hold = take(gate.parts.scorings)
    assert hold is not None
    for move in (ScoringStatus.VALIDATING, ScoringStatus.RUNNING, ScoringStatus.MERGING, ScoringStatus.COMPLETED):
        hold.note(to=move, fields=fields)


def stored(gate: Gate, id: str, what: str, content: bytes) -> dict[str, str | int]:
    """An object of a scoring, and the fields that lead to it."""
    name = f"local/scorings/{id}/{what}.jsonl"
    gate.parts.objects.put(name, [content])
    return {f"{what}_key": name, f"{what}_bytes": len(content)}


# -- accepted ------------------------------------------------------------------------------------------------------


def test_accepted_scoring_stands_and_waits_for_its_driver(gate: Gate) -> None:
    asked = wish(
        gate, mapping={"x": "value"}, keep=["id"], custom_id="id", max_failed_rows=3, metadata={"run": 7},
        parameters={"top": 2}, shard_rows=64, result_ttl_s=60, output_format="parquet", priority="normal",
        webhook={"url": "https://erp.example/hook", "events": ["scoring.progress", "scoring.completed"]},
    )  # fmt: skip
    answer = gate.client.post("/v1/scorings", json=asked)
    shown = answer.json
    assert (answer.status_code, answer.headers["Location"]) == (202, shown["urls"]["self"])
    assert (shown["status"], shown["format"], shown["output_format"]) == ("queued", "csv", "parquet")
    assert shown["rows"] == {"total": None, "done": 0, "failed": 0}
    assert shown["input"] == {"objects": [asked["input"]["object"]], "parts": 1, "bytes": len(CSV)}
    spec = record(gate, shown["id"]).spec
    assert (spec.mapping, spec.keep, spec.custom_id, spec.max_failed_rows) == ({"x": "value"}, ("id",), "id", 3)
    assert (spec.version, spec.pool, spec.shard_rows, spec.result_ttl_s) == ("1", "cpu", 64, 60)
    assert (spec.webhook_url, len(spec.webhook_events), spec.base) == (
        "https://erp.example/hook",
        2,
        "http://localhost",
    )
    (part,) = spec.input
    stat = gate.parts.objects.stat(part.uri)
    assert stat is not None
    assert (part.etag, part.bytes) == (stat.etag, stat.bytes)
    assert gate.store.zrange(keys.SCORINGS_WAITING, 0, -1) == [f"local/{spec.id}".encode()]


def test_several_uploads_count_in_their_order(gate: Gate) -> None:
    ids = [upload(gate, b'{"x": %d}\n' % number) for number in range(30)]
    shown = start(gate, input={"objects": ids})
    assert (shown["input"]["objects"], shown["input"]["parts"], shown["format"]) == (ids[:20], 30, "jsonl")
    assert [part.uri.rpartition("/")[2] for part in record(gate, shown["id"]).spec.input] == ids


@pytest.mark.parametrize(
    ("head", "format"),
    [
        (b"PAR1\x15\x04", "parquet"), (b' \n{"x": 1}\n', "jsonl"), (b"\xef\xbb\xbfx,y\n1,2\n", "csv"), (b"x\n", "csv"),
        (gzip.compress(b"x,y\n1,2\n" * 99), "csv"), (gzip.compress(b'{"x": 1}\n')[:20], "jsonl"), (b"", None),
        (b"\x1f\x8b\x08\x00", None), (b"\x1f\x8bxx", None), (b"<html>", None), (b"[1, 2]", None), (b"  \n ", None),
    ],
)  # fmt: skip
def test_first_bytes_tell_the_format(head: bytes, format: str | None) -> None:
    assert by_bytes(head) == format


@pytest.mark.parametrize(
    ("name", "format"),
    [("s3://lake/a.CSV", "csv"), ("b.ndjson.gz", "jsonl"), ("c.pq", "parquet"), ("d.jsonl.zst", "jsonl"), ("e", None)],
)
def test_names_tell_the_format_of_what_is_compressed_too(name: str, format: str | None) -> None:
    assert by_name(name) == format


def test_same_key_and_body_are_the_same_scoring(gate: Gate) -> None:
    asked = wish(gate)
    first = gate.client.post("/v1/scorings", json=asked, headers=KEY).json
    again = gate.client.post("/v1/scorings", json=asked | {"priority": "low"}, headers=KEY)
    assert (again.status_code, again.json["id"], again.headers["Idempotency-Replayed"]) == (202, first["id"], "true")
    other = gate.client.post("/v1/scorings", json=asked | {"keep": ["id"]}, headers=KEY)
    assert (other.status_code, other.json["code"]) == (422, "idempotency_mismatch")
    assert len(gate.client.get("/v1/scorings").json["data"]) == 1
    pinned = gate.store.zrange(keys.pins(f"local/objects/{asked['input']['object']}"), 0, -1)
    assert pinned == [first["id"].encode()]


# -- refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "pointer", "words"),
    [
        ({"input": {"object": "obj_" + "0" * 26}}, "#/input/object", "names no object of yours"),
        ({"input": {"object": "../x"}}, "#/input/object", "names no object of yours"),
        ({"input": {"objects": ["obj_" + "0" * 26] * 2}}, "#/input/objects/1", "is there already"),
        ({"input": {}}, "#/input", "must have one of"),
        ({"input": {"object": "a", "objects": ["b"]}}, "#/input", "must have one of"),
        ({"input": "rows.csv"}, "#/input", "must be"),
        ({"input": "s3://lake/rows.csv"}, "#/input", "upload the file instead"),
        ({"mapping": {"xs": "a"}}, "#/mapping/xs", "did you mean x?"),
        ({"mapping": {"x": []}}, "#/mapping", "length >= 1"),
        ({"keep": ["a", "a"]}, "#/keep/1", "is there already"),
        ({"format": "xlsx"}, "#/format", "xlsx"),
        ({"max_failed_rows": -1}, "#/max_failed_rows", ">= 0"),
        ({"shard_rows": 0}, "#/shard_rows", ">= 1"),
        ({"webhook": {"url": "https://a.example/", "events": ["job.completed"]}}, "#/webhook/events/0", "is none of"),
        ({"webhook": {"url": "https://127.0.0.1/"}}, "#/webhook/url", "public"),
        ({"metadata": {"a": {}}}, "#/metadata", "Expected"),
        ({"rows": 1}, "#/rows", "unknown"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(gate: Gate, fields: dict[str, Any], pointer: str, words: str) -> None:
    answer = gate.client.post("/v1/scorings", json=wish(gate, **fields))
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_input"), answer.text
    (fault, *_) = answer.json["errors"]
    assert fault["pointer"].startswith(pointer)
    assert words in fault["detail"]
    assert gate.client.get("/v1/scorings").json["data"] == []
    assert not gate.store.keys(keys.pins("*"))


def test_unknown_model_and_version_are_404(gate: Gate) -> None:
    for fields, words in (({"model": "narow"}, "did you mean narrow"), ({"version": "9"}, "no version '9'")):
        answer = gate.client.post("/v1/scorings", json=wish(gate, **fields))
        assert (answer.status_code, answer.json["code"]) == (404, "unknown_model")
        assert words in answer.json["detail"]


def test_model_that_takes_no_rows_is_refused(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = gate.parts.catalog.models["narrow"][0].manifest
    monkeypatch.setitem(vars(manifest), "unscorable", "it is a pipeline")
    answer = gate.client.post("/v1/scorings", json=wish(gate))
    assert (answer.status_code, answer.json["errors"]) == (422, [{"pointer": "#/model", "detail": "it is a pipeline"}])


def test_input_that_tells_no_format_asks_for_one(gate: Gate) -> None:
    input = {"object": upload(gate, b"\x1f\x8b\x00")}
    answer = gate.client.post("/v1/scorings", json=wish(gate, input=input))
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "#/format")
    assert start(gate, input=input, format="csv")["format"] == "csv"


def test_too_many_unfinished_scorings_are_429_until_one_ends(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorings_view, "MOST_UNFINISHED", 2)
    first = start(gate)["id"]
    assert take(gate.parts.scorings) is not None
    start(gate)
    refused = gate.client.post("/v1/scorings", json=wish(gate))
    assert (refused.status_code, refused.json["code"]) == (429, "quota_exceeded")
    assert "has 2 scorings that have not ended; its limit is 2" in refused.json["detail"]
    assert refused.headers["Retry-After"]
    hold = Hold(gate.parts.scorings, first, 1)
    hold.note(to=ScoringStatus.FAILED)
    start(gate)


# -- looked at -----------------------------------------------------------------------------------------------------


def test_get_shows_progress_and_knows_what_is_new(gate: Gate) -> None:
    id = start(gate)["id"]
    path = f"/v1/scorings/{id}"
    first = gate.client.get(path)
    assert (first.status_code, first.headers["Retry-After"]) == (200, "1")
    same = gate.client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (same.status_code, same.data) == (304, b"")
    hold = take(gate.parts.scorings)
    assert hold is not None
    hold.note(to=ScoringStatus.VALIDATING)
    hold.note(to=ScoringStatus.RUNNING, fields={"total": 1000, "done": 250, "failed": 3, "rate": "5.0"})
    now = gate.client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (now.status_code, now.headers["Retry-After"]) == (200, "5")
    assert now.json["rows"] == {"total": 1000, "done": 250, "failed": 3}
    assert (now.json["rate"], now.json["eta_s"], now.json["progress"]) == (5.0, 150.0, 0.25)
    assert None not in (now.json["validating_at"], now.json["running_at"])
    assert now.json["completed_at"] is None


def test_scoring_without_a_worker_says_so(gate: Gate) -> None:
    path = f"/v1/scorings/{start(gate)['id']}"
    assert gate.client.get(path).json["waiting_reason"] == "no_worker"
    gate.serve("narrow", "loading")
    gate.parts.resolver.look()
    assert gate.client.get(path).json["waiting_reason"] == "model_loading"
    gate.serve("narrow")
    gate.parts.resolver.look()
    assert gate.client.get(path).json["waiting_reason"] is None


def test_metrics_count_scorings_that_have_not_ended(gate: Gate) -> None:
    for _ in range(3):
        start(gate)
    assert take(gate.parts.scorings) is not None
    text = gate.client.get("/metrics").text
    assert 'penstock_scorings_unfinished{state="queued"} 2.0' in text
    assert 'penstock_scorings_unfinished{state="driven"} 1.0' in text


def test_list_is_newest_first_by_pages_and_filters(gate: Gate) -> None:
    ids = [start(gate)["id"] for _ in range(3)]
    gate.client.post(f"/v1/scorings/{ids[1]}/cancel")
    page = gate.client.get("/v1/scorings?limit=2").json
    assert [one["id"] for one in page["data"]] == ids[:0:-1]
    rest = gate.client.get(f"/v1/scorings?limit=2&cursor={page['next_cursor']}").json
    assert ([one["id"] for one in rest["data"]], rest["next_cursor"]) == (ids[:1], None)
    assert [one["id"] for one in gate.client.get("/v1/scorings?status=canceled").json["data"]] == ids[1:2]
    assert gate.client.get("/v1/scorings?model=echo").json["data"] == []
    for query in ("status=done", "limit=0", "cursor=/", "tenant=x"):
        answer = gate.client.get(f"/v1/scorings?{query}")
        assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "?" + query.partition("=")[0])


def test_output_and_errors_are_served_as_files(gate: Gate) -> None:
    id = start(gate)["id"]
    fields = stored(gate, id, "output", b'{"y":1}\n') | stored(gate, id, "errors", b'{"row":1}\n')
    drive(gate, total=2, done=2, failed=1, **fields)
    shown = gate.client.get(f"/v1/scorings/{id}").json
    assert (shown["status"], shown["progress"], shown["output"]["bytes"]) == ("completed", 1.0, 8)
    assert (shown["errors"]["rows"], shown["errors"]["object"]) == (1, f"{id}-errors")
    for what, content in (("output", b'{"y":1}\n'), ("errors", b'{"row":1}\n')):
        assert shown[what]["url"] == f"http://localhost/v1/objects/{id}-{what}"
        file = gate.client.get(f"/v1/objects/{id}-{what}")
        assert (file.data, file.content_type) == (content, "application/x-ndjson")
        assert file.headers["Content-Disposition"] == f'attachment; filename="{id}-{what}.jsonl"'


def test_output_that_is_not_there_is_404(gate: Gate) -> None:
    id = start(gate)["id"]
    for name in (f"{id}-output", f"{id}-errors", f"{id}-other", f"{id[:-1]}0-output", id):
        answer = gate.client.get(f"/v1/objects/{name}")
        assert (answer.status_code, answer.json["detail"]) == (404, f"no object {name!r}")


# -- canceled, run again, erased -----------------------------------------------------------------------------------


def test_cancel_is_idempotent(gate: Gate) -> None:
    id = start(gate)["id"]
    for _ in range(2):
        answer = gate.client.post(f"/v1/scorings/{id}/cancel")
        assert (answer.status_code, answer.json["status"]) == (200, "canceled")


def test_failed_rows_run_again_while_their_input_is_as_it_was(gate: Gate) -> None:
    id = start(gate)["id"]
    path = f"/v1/scorings/{id}/retry-failed"
    early = gate.client.post(path)
    assert (early.status_code, early.json["code"]) == (409, "not_ready")
    drive(gate, total=2, done=2, failed=1)
    again = gate.client.post(path)
    assert (again.status_code, again.json["status"], again.json["round"]) == (202, "queued", 2)
    drive(gate, total=2, done=2, failed=0)
    none = gate.client.post(path)
    assert (none.status_code, none.json["code"]) == (409, "already_terminal")


def test_changed_input_is_not_run_again(gate: Gate) -> None:
    id = start(gate)["id"]
    drive(gate, total=2, done=2, failed=1)
    (part,) = record(gate, id).spec.input
    gate.parts.objects.put(part.uri, [b"x\n9\n"])
    changed = gate.client.post(f"/v1/scorings/{id}/retry-failed")
    assert (changed.status_code, changed.json["code"]) == (409, "input_changed")
    assert record(gate, id).status is ScoringStatus.COMPLETED


def test_deleted_scoring_is_410_and_its_output_404(gate: Gate) -> None:
    id = start(gate)["id"]
    drive(gate, total=1, done=1, **stored(gate, id, "output", b"{}\n"))
    assert gate.client.delete(f"/v1/scorings/{id}").status_code == 204
    for method, path in (("GET", ""), ("POST", "/cancel"), ("POST", "/retry-failed"), ("DELETE", "")):
        answer = gate.client.open(f"/v1/scorings/{id}{path}", method=method)
        assert (answer.status_code, answer.json["code"]) == (410, "result_expired")
    assert gate.client.get(f"/v1/objects/{id}-output").status_code == 404
    assert gate.client.get("/v1/scorings").json["data"] == []


def test_key_that_may_only_submit_does_not_see_what_came_of_it(make: Callable[..., Gate]) -> None:
    gate = make(host="0.0.0.0")
    create = gate.parts.access.create
    both, submit = bearer(create("acme")), bearer(create("acme", scopes=["submit"]))
    object = gate.client.post("/v1/objects", data=CSV, headers=both).json["id"]
    asked = {"model": "narrow", "input": {"object": object}}
    id = gate.client.post("/v1/scorings", json=asked, headers=submit | KEY).json["id"]
    drive(gate, output_key=f"acme/scorings/{id}/output.csv", output_bytes=3)
    again = gate.client.post("/v1/scorings", json=asked, headers=submit | KEY).json
    assert (again["id"], again["output"]) == (id, None)
    assert gate.client.post(f"/v1/scorings/{id}/cancel", headers=submit).json["output"] is None
    assert gate.client.post(f"/v1/scorings/{id}/cancel", headers=both).json["output"] is not None


def test_shard_of_a_scoring_is_no_job_to_its_tenant(gate: Gate) -> None:
    id = start(gate)["id"]
    hold = take(gate.parts.scorings)
    assert hold is not None
    hold.note(commands=[("HSET", SHARDS, 0, b"{}")])
    shard = NewJob(
        id=f"{id}-00000000", tenant="local", queue="cpu.narrow.1.low", message=b"{}", created_ms=1, start_by_ms=0,
        result_ttl_s=60, scoring=id,
    )  # fmt: skip
    assert gate.parts.jobs.create(shard).verdict == "created"
    path = f"/v1/jobs/{shard.id}"
    for method, below in (("get", ""), ("get", "/result"), ("post", "/cancel"), ("post", "/retry"), ("delete", "")):
        assert getattr(gate.client, method)(path + below).status_code == 404, (method, below)
    assert gate.client.get("/v1/jobs").json["data"] == []
    assert gate.parts.jobs.get(shard.id) is not None
