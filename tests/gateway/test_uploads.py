"""Uploads in parts: bounded, a tenant's own, and an object only when every part is what was sent."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from errors import NotFound
from gateway.upload_ids import UPLOAD_TTL_S, UploadIds, part_size
from storage.multipart import MOST_PARTS, SMALLEST_PART
from tests.gateway.gate import Gate
from tests.gateway.test_objects import path_of

SIZE = SMALLEST_PART
CONTENT = bytes(range(256)) * (SIZE // 256) + b"the end"


def begin(gate: Gate, size: int = len(CONTENT), **wish: Any) -> Any:
    answer = gate.client.post("/v1/uploads", json={"bytes": size, "part_bytes": SIZE, **wish})
    assert answer.status_code == 201, answer.text
    return answer.json


def piece(number: int) -> bytes:
    return CONTENT[(number - 1) * SIZE : number * SIZE]


def put(gate: Gate, upload: Any, number: int, data: bytes | None = None) -> Any:
    return gate.client.put(
        f"/v1/uploads/{upload['id']}/part?number={number}", data=piece(number) if data is None else data
    )


def complete(gate: Gate, upload: Any, *numbers: int) -> Any:
    parts = [{"number": number, "etag": hashlib.md5(piece(number)).hexdigest()} for number in numbers]
    return gate.client.post(f"/v1/uploads/{upload['id']}/complete", json={"parts": parts})


def test_parts_become_an_object_that_jobs_can_refer_to(gate: Gate) -> None:
    upload = begin(gate)
    assert (upload["parts"], upload["part_bytes"], upload["received"]) == (2, SIZE, [])
    for number in (2, 1):
        answer = put(gate, upload, number)
        assert answer.json == {
            "number": number, "bytes": len(piece(number)), "etag": hashlib.md5(piece(number)).hexdigest()
        }  # fmt: skip
    stored = complete(gate, upload, 1, 2)
    assert (stored.status_code, stored.json["id"], stored.json["bytes"]) == (201, upload["object_id"], len(CONTENT))
    assert gate.client.get(path_of(stored.headers["Location"])).data == CONTENT


def test_upload_tells_which_parts_it_has(gate: Gate) -> None:
    upload = begin(gate)
    put(gate, upload, 2)
    assert [part["number"] for part in gate.client.get(f"/v1/uploads/{upload['id']}").json["received"]] == [2]


def test_completing_twice_answers_twice(gate: Gate) -> None:
    upload = begin(gate)
    put(gate, upload, 1), put(gate, upload, 2)
    assert complete(gate, upload, 1, 2).status_code == 201
    assert complete(gate, upload, 1, 2).status_code == 201
    assert put(gate, upload, 1).status_code == 404


@pytest.mark.parametrize("numbers", [(1,), (2, 1), (1, 2, 3), ()])
def test_an_upload_is_completed_with_all_its_parts_or_not(gate: Gate, numbers: tuple[int, ...]) -> None:
    upload = begin(gate)
    put(gate, upload, 1), put(gate, upload, 2)
    answer = complete(gate, upload, *numbers)
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "#/parts")
    assert list(gate.parts.objects.keys()) == []


def test_a_part_that_is_missing_or_other_than_was_sent_makes_no_object(gate: Gate) -> None:
    upload = begin(gate)
    put(gate, upload, 1)
    assert complete(gate, upload, 1, 2).json["detail"] == "part 2 is not stored as it was sent"
    put(gate, upload, 2, b"THE END")
    assert complete(gate, upload, 1, 2).status_code == 422
    assert list(gate.parts.objects.keys()) == []


@pytest.mark.parametrize("data", [piece(1)[:-1], piece(1) + b"x", b""])
def test_a_part_has_just_its_bytes(gate: Gate, data: bytes) -> None:
    upload = begin(gate)
    assert put(gate, upload, 1, data).status_code in (400, 413)
    assert gate.client.get(f"/v1/uploads/{upload['id']}").json["received"] == []


@pytest.mark.parametrize(
    ("number", "status"), [("0", 404), ("3", 404), ("-1", 422), ("1e1", 422), ("", 422), ("٣", 422)]
)
def test_there_are_no_parts_but_its_own(gate: Gate, number: str, status: int) -> None:
    upload = begin(gate)
    path = f"/v1/uploads/{upload['id']}/part?number={number}"
    assert gate.client.put(path, data=piece(1)).status_code == status
    assert gate.client.get(path).status_code == status


def test_total_and_parts_are_bounded(make: Callable[..., Gate]) -> None:
    gate = make(max_object_bytes=2**40)
    for wish in ({"bytes": 2**40 + 1}, {"bytes": 0}, {"bytes": -1}, {}, {"bytes": 10, "part_bytes": SIZE - 1},
                 {"bytes": 10, "part_bytes": 2**40}, {"bytes": SIZE * MOST_PARTS + 1, "part_bytes": SIZE}):  # fmt: skip
        assert gate.client.post("/v1/uploads", json=wish).status_code in (413, 422), wish
    assert gate.parts.jobs.due(limit=10) == []
    assert -(-(2**40) // part_size(2**40, None)) <= MOST_PARTS


def test_a_part_goes_where_it_is_told_to_go(gate: Gate) -> None:
    upload = begin(gate)
    target = gate.client.get(f"/v1/uploads/{upload['id']}/part?number=2").json
    assert (target["method"], target["bytes"], target["gateway"]) == ("PUT", 7, True)
    assert gate.client.put(path_of(target["url"]), data=piece(2)).status_code == 200


def test_an_abandoned_upload_is_gone(gate: Gate) -> None:
    upload = begin(gate)
    put(gate, upload, 1)
    assert gate.client.delete(f"/v1/uploads/{upload['id']}").status_code == 204
    assert gate.client.get(f"/v1/uploads/{upload['id']}").status_code == 404
    assert complete(gate, upload, 1, 2).status_code == 404


def test_erasure_is_settled_before_the_first_part(gate: Gate) -> None:
    upload = begin(gate)
    [member] = gate.store.zrange("penstock:due", 0, -1)
    assert member.decode() == f"upload:local/objects/{upload['object_id']}"
    put(gate, upload, 1), put(gate, upload, 2)
    complete(gate, upload, 1, 2)
    assert f"object:local/objects/{upload['object_id']}".encode() in gate.store.zrange("penstock:due", 0, -1)


def test_an_id_is_signed_and_ends(gate: Gate) -> None:
    upload = begin(gate)
    for forged in (upload["id"][:-1] + ("A" if upload["id"][-1] != "A" else "B"), "x" * 5000, "a.b.c"):
        assert gate.client.get(f"/v1/uploads/{forged}").status_code == 404
    late = UploadIds(gate.parts.access, clock_ms=lambda: gate.parts.jobs.now_ms() + UPLOAD_TTL_S * 1000 + 1000)
    with pytest.raises(NotFound, match="not completed in time"):
        late.read(upload["id"], tenant="local")


def test_a_key_that_may_only_read_uploads_nothing(make: Callable[..., Gate]) -> None:
    gate = make(host="0.0.0.0")
    headers = {"Authorization": f"Bearer {gate.parts.access.create('acme', scopes=frozenset({'read'}))}"}
    assert gate.client.post("/v1/uploads", json={"bytes": 7}, headers=headers).status_code == 403
