from pathlib import Path

import pytest
from penstock import NotThere, Penstock, StoredObject

from tests.client.desk import Desk, problem


def test_a_file_is_streamed_with_its_length_and_type(desk: Desk, client: Penstock, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4000
    (tmp_path / "page.png").write_bytes(data)
    told: list[int] = []
    desk.say({"id": "obj_1", "bytes": len(data), "sha256": "f00"})
    assert client.objects.upload(tmp_path / "page.png", progress=told.append) == StoredObject("obj_1", len(data), "f00")
    seen = desk.seen[0]
    assert seen.body == data
    assert (seen.headers["content-type"], "transfer-encoding" in seen.headers) == ("image/png", False)
    assert sum(told) == len(data)
    assert len(told) > 1


def test_an_upload_that_was_cut_off_starts_anew(desk: Desk, client: Penstock, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"abc" * 1000)
    desk.hang_up().say({"id": "obj_1", "bytes": 3000})
    assert client.objects.upload(tmp_path / "a.bin").id == "obj_1"
    assert desk.seen[1].body == b"abc" * 1000


def test_an_input_over_the_limit_is_uploaded_first(desk: Desk, client: Penstock) -> None:
    desk.say({"id": "obj_1", "bytes": 1}).say({"id": "job_1", "model": "m", "status": "queued"})
    client.jobs.submit("ocr", {"image": bytes(2**20 + 1)})
    assert desk.seen[1].json()["inputs"] == {"image": {"object": "obj_1"}}


def test_a_download_follows_to_the_store_and_lands_whole(desk: Desk, client: Penstock, tmp_path: Path) -> None:
    desk.say(b"", 303, Location="/bucket").say(b"bytes" * 100_000)
    assert client.objects.download("obj_1", tmp_path / "out.bin").read_bytes() == b"bytes" * 100_000
    assert [path.name for path in tmp_path.iterdir()] == ["out.bin"]


def test_a_download_that_fails_leaves_what_was_there(desk: Desk, client: Penstock, tmp_path: Path) -> None:
    (tmp_path / "out.bin").write_bytes(b"old")
    desk.say(problem("not_found", 404), 404)
    with pytest.raises(NotThere):
        client.objects.download("obj_1", tmp_path / "out.bin")
    assert (tmp_path / "out.bin").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.bin"]


def test_models_are_read_with_their_signature(desk: Desk, client: Penstock) -> None:
    row = {"name": "minilm", "version": "1", "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}]}
    desk.say({"data": [row]}).say(row)
    (listed,) = client.models.list()
    assert (listed.inputs[0].datatype, listed.inputs[0].shape) == ("BYTES", (-1,))
    assert client.models.get("minilm", "1") == listed
    assert desk.seen[1].path == "/v1/models/minilm/versions/1"
