"""The real client sends large files in parts to the real gateway: a folder's and an S3 store's."""

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from penstock import AsyncPenstock, InvalidInput, PayloadTooLarge, Penstock, PenstockError, StoredObject

from storage.multipart import SMALLEST_PART
from tests.gateway.gate import Gate
from tests.gateway.street import Street

SIZE = SMALLEST_PART
CONTENT = bytes(range(256)) * (SIZE // 256) * 2 + b"the end"
STORED = (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.service)])
def gate(request: pytest.FixtureRequest, make: Callable[..., Gate]) -> Gate:
    if request.param == "folder":
        return make()
    gate = make(objects_url=request.getfixturevalue("objects_url"))
    gate.parts.objects.delete_prefix("")
    return gate


@pytest.fixture
def street(gate: Gate) -> Iterator[Street]:
    street = Street(gate)
    yield street
    street.close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "penstock" / "uploads"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "table.bin"
    path.write_bytes(CONTENT)
    return path


def upload(street: Street, path: Path, told: list[int] | None = None) -> StoredObject:
    with Penstock(street.url, retry_for_s=2) as client:
        return client.objects.upload(path, part_bytes=SIZE, progress=told.append if told is not None else None)


def parts_sent(street: Street) -> int:
    """Parts that were asked for or sent, each counted once."""
    return len({request.partition("number=")[2] for request in street.seen if "/part?" in request})


def test_a_large_file_goes_in_parts_and_comes_back(street: Street, file: Path, cache: Path, tmp_path: Path) -> None:
    told: list[int] = []
    stored = upload(street, file, told)
    assert (stored.bytes, stored.sha256) == STORED
    assert (parts_sent(street), told) == (3, [SIZE, SIZE, 7])
    assert list(cache.iterdir()) == []
    with Penstock(street.url) as client:
        assert client.objects.download(stored.id, tmp_path / "back").read_bytes() == CONTENT


def test_parts_go_straight_to_a_store_that_clients_reach(street: Street, file: Path) -> None:
    upload(street, file)
    through = [request for request in street.seen if request.startswith("PUT")]
    assert bool(through) == (not street.gate.parts.settings.objects_url)


def test_an_interrupted_upload_sends_only_what_is_missing(street: Street, file: Path, cache: Path) -> None:
    def interrupt(sent: int) -> None:
        if len(told) == 1:
            raise KeyboardInterrupt
        told.append(sent)

    told: list[int] = []
    with Penstock(street.url) as client, pytest.raises(KeyboardInterrupt):
        client.objects.upload(file, part_bytes=SIZE, progress=interrupt)
    assert len(list(cache.iterdir())) == 1
    street.seen.clear()
    stored = upload(street, file)
    assert (stored.bytes, stored.sha256) == STORED
    assert parts_sent(street) == 1
    assert [request for request in street.seen if request == "POST /v1/uploads"] == []


def test_a_lost_answer_costs_one_part_and_not_the_upload(street: Street, file: Path) -> None:
    broken: set[str] = set()

    def once(request: str) -> bool:
        # An upload whose id is lost cannot be told from another: its parts go with their day.
        kind = request.partition("?")[0].split("/")[-1] + request.partition("?")[2]
        return "/uploads/" in request and kind not in broken and not broken.add(kind)  # type: ignore[func-returns-value]

    street.breaks = once
    stored = upload(street, file)
    assert (stored.bytes, stored.sha256) == STORED
    assert street.gate.parts.objects.read(f"local/objects/{stored.id}") == CONTENT


def test_a_file_that_changed_between_two_calls_is_another_upload(street: Street, file: Path) -> None:
    with Penstock(street.url) as client, pytest.raises(ZeroDivisionError):
        client.objects.upload(file, part_bytes=SIZE, progress=lambda _: 1 // 0)  # type: ignore[arg-type]
    file.write_bytes(CONTENT[::-1])
    stored = upload(street, file)
    assert street.gate.parts.objects.read(f"local/objects/{stored.id}") == CONTENT[::-1]


def test_a_file_that_changes_meanwhile_becomes_no_object(street: Street, file: Path, cache: Path) -> None:
    def change(_: int) -> None:
        with file.open("ab") as growing:
            growing.write(b"x")

    with Penstock(street.url) as client, pytest.raises(InvalidInput, match="was changed while it was uploaded"):
        client.objects.upload(file, part_bytes=SIZE, progress=change)
    assert list(street.gate.parts.objects.keys("local/")) == []
    assert list(cache.iterdir()) == []


def test_an_upload_that_the_farm_has_forgotten_begins_anew(street: Street, file: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    with Penstock(street.url) as client, pytest.raises(ZeroDivisionError):
        client.objects.upload(file, part_bytes=SIZE, progress=lambda _: 1 // 0)  # type: ignore[arg-type]
    [remembered] = cache.iterdir()
    with Penstock(street.url) as client:
        client._transport.send("DELETE", f"/v1/uploads/{remembered.read_text()}")
    assert upload(street, file).sha256 == STORED[1]


def test_a_file_beyond_the_limit_is_refused_before_a_byte_is_sent(make: Callable[..., Gate], file: Path) -> None:
    street = Street(make(max_object_bytes=SIZE))
    try:
        with pytest.raises(PayloadTooLarge):
            upload(street, file)
        assert street.seen == ["POST /v1/uploads"]
    finally:
        street.close()


def test_without_a_cache_an_upload_works_all_the_same(
    street: Street, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken"))
    assert upload(street, file).sha256 == STORED[1]


def test_the_asynchronous_client_does_the_same(street: Street, file: Path) -> None:
    async def send() -> StoredObject:
        async with AsyncPenstock(street.url) as client:
            return await client.objects.upload(file, part_bytes=SIZE)

    assert asyncio.run(send()).sha256 == STORED[1]


@pytest.mark.service
def test_a_store_out_of_the_clients_reach_is_reached_through_the_gateway(
    make: Callable[..., Gate], objects_url: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.uploading.STORE_PATIENCE_S", 0.1)
    street = Street(make(objects_url=objects_url + "&public=http://127.0.0.1:9"))
    try:
        stored = upload(street, file)
        assert sum(request.startswith("PUT") for request in street.seen) == 3
        assert street.gate.parts.objects.read(f"local/objects/{stored.id}") == CONTENT
    finally:
        street.close()


def test_a_part_that_arrives_changed_is_sent_again_and_then_reported(
    make: Callable[..., Gate], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    street = Street(make())
    monkeypatch.setattr("penstock.uploading.read_part", lambda file, size, whole: (file.read(size), b"0" * 16))
    try:
        with pytest.raises(PenstockError, match="part 1 arrives changed"):
            upload(street, file)
        assert sum(request.startswith("PUT") for request in street.seen) == 3
    finally:
        street.close()
