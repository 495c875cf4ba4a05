"""Objects that arrive in parts; the same tests on a folder and on a real S3 server."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
from minio import Minio

from errors import InvalidInput, NotFound, ObjectsUnavailable
from storage.multipart import SMALLEST_PART, Part
from storage.multipart_s3 import COMPLETING_S, S3Parts
from storage.objects import Objects, open_objects
from storage.s3 import S3
from storage.s3server import parse
from tests.services.ports import free_port

KEY = "acme/objects/obj_1"
#: Two whole parts and a short one.
CONTENT = bytes(range(256)) * (SMALLEST_PART // 256) * 2 + b"the end"
SIZE = SMALLEST_PART


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.service)])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Objects]:
    if request.param == "folder":
        yield open_objects(f"file://{tmp_path}/objects")
        return
    store = open_objects(request.getfixturevalue("objects_url"))
    store.delete_prefix("")
    store.multipart().abandon(KEY)
    yield store


def piece(number: int, content: bytes = CONTENT) -> bytes:
    return content[(number - 1) * SIZE : number * SIZE]


def send(objects: Objects, id: str, number: int, content: bytes = CONTENT) -> Part:
    data = piece(number, content)
    return objects.multipart().put(
        KEY, id, number, [data[:1000], data[1000:]], offset=(number - 1) * SIZE, length=len(data)
    )


def test_parts_in_any_order_become_the_object(objects: Objects) -> None:
    uploads = objects.multipart()
    id = uploads.begin(KEY)
    sent = [send(objects, id, number) for number in (3, 1, 2)]
    assert {part.etag for part in sent} == {hashlib.md5(piece(number)).hexdigest() for number in (1, 2, 3)}
    assert objects.size(KEY) is None
    assert uploads.parts(KEY, id) == sorted(sent, key=lambda part: part.number)
    uploads.complete(KEY, id, uploads.parts(KEY, id))
    assert objects.read(KEY) == CONTENT
    assert list(objects.keys()) == [KEY]


def test_a_part_that_is_sent_again_counts_once_and_the_last_time(objects: Objects) -> None:
    uploads = objects.multipart()
    id = uploads.begin(KEY)
    send(objects, id, 1, b"x" * len(CONTENT))
    parts = [send(objects, id, number) for number in (1, 2, 3)]
    assert uploads.parts(KEY, id) == parts
    uploads.complete(KEY, id, parts)
    assert objects.read(KEY) == CONTENT


def test_a_part_of_another_length_is_refused_and_leaves_what_was_there(objects: Objects) -> None:
    uploads = objects.multipart()
    id = uploads.begin(KEY)
    first = send(objects, id, 1)
    for wrong in (b"x" * (SIZE - 1), b"x" * (SIZE + 1)):
        with pytest.raises(InvalidInput, match=f"part 1 has {SIZE} bytes"):
            uploads.put(KEY, id, 1, [wrong], offset=0, length=SIZE)
    assert uploads.parts(KEY, id) == [first]


def test_parts_that_are_not_what_was_sent_make_no_object(objects: Objects) -> None:
    uploads = objects.multipart()
    id = uploads.begin(KEY)
    first, second = send(objects, id, 1), send(objects, id, 2)
    for wrong in ([first, Part(2, SIZE, "0" * 32)], [first, Part(3, 7, second.etag)]):
        with pytest.raises(InvalidInput):
            uploads.complete(KEY, id, wrong)
    assert objects.size(KEY) is None
    assert uploads.parts(KEY, id) == [first, second]


def test_an_abandoned_upload_is_over_and_erased(objects: Objects) -> None:
    uploads = objects.multipart()
    id = uploads.begin(KEY)
    part = send(objects, id, 1)
    uploads.abandon(KEY)
    uploads.abandon(KEY)
    with pytest.raises(NotFound):
        uploads.parts(KEY, id)
    with pytest.raises(NotFound):
        send(objects, id, 2)
    with pytest.raises(NotFound):
        uploads.complete(KEY, id, [part])
    assert list(objects.keys()) == []


def test_a_completed_upload_is_over(objects: Objects) -> None:
    uploads = objects.multipart()
    id = uploads.begin(KEY)
    uploads.complete(KEY, id, [send(objects, id, 1)])
    with pytest.raises(NotFound):
        uploads.parts(KEY, id)
    assert objects.read(KEY) == piece(1)


def test_parts_that_arrive_at_once_do_not_mix(objects: Objects) -> None:
    uploads = objects.multipart()
    id = uploads.begin(KEY)
    contents = [bytes([n]) * len(CONTENT) for n in range(4)]
    threads = [
        threading.Thread(target=send, args=(objects, id, number, content)) for content in contents for number in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    parts = uploads.parts(KEY, id)
    uploads.complete(KEY, id, parts)
    read = objects.read(KEY)
    assert [hashlib.md5(read[:SIZE]).hexdigest(), hashlib.md5(read[SIZE:]).hexdigest()] == [part.etag for part in parts]


@pytest.mark.service
def test_a_presigned_part_takes_just_its_bytes_and_no_other_place(objects_url: str) -> None:
    objects = open_objects(objects_url)
    uploads = objects.multipart()
    id = uploads.begin(KEY)
    url = uploads.url(KEY, id, 1, length=SIZE, expires_s=60)
    assert url is not None
    http = urllib3.PoolManager(retries=False)
    assert http.request("PUT", url, body=piece(1) + b"x").status == 403
    assert http.request("PUT", url.replace("partNumber=1", "partNumber=2"), body=piece(1)).status == 403
    assert uploads.parts(KEY, id) == []
    answer = http.request("PUT", url, body=piece(1))
    assert (answer.status, answer.headers["ETag"]) == (200, f'"{hashlib.md5(piece(1)).hexdigest()}"')
    assert [part.number for part in uploads.parts(KEY, id)] == [1]
    uploads.abandon(KEY)


@pytest.mark.service
def test_a_store_behind_the_gateway_has_no_urls_and_takes_parts(objects_url: str) -> None:
    objects = open_objects(objects_url + "&public=none")
    uploads = objects.multipart()
    id = uploads.begin(KEY)
    assert uploads.url(KEY, id, 1, length=SIZE, expires_s=60) is None
    uploads.complete(KEY, id, [send(objects, id, 1)])
    assert objects.read(KEY) == piece(1)


def test_a_store_that_is_away_is_told() -> None:
    away = open_objects(f"s3://key:secret@127.0.0.1:{free_port()}/bucket?secure=false")
    with pytest.raises(ObjectsUnavailable):
        away.multipart().begin(KEY)


def test_putting_parts_together_may_take_longer_than_any_other_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    def complete(client: Minio, *_: object) -> None:
        waited.append(client._http.connection_pool_kw["timeout"].read_timeout)

    part = Part(1, 5, "etag")
    monkeypatch.setattr(Minio, "_complete_multipart_upload", complete)
    monkeypatch.setattr(S3Parts, "parts", lambda *_: [part])
    store = S3(parse("s3://key:secret@127.0.0.1:1/bucket?secure=false&timeout_s=0.5"))
    store._parts.complete(KEY, "upload", [part])
    assert waited == [COMPLETING_S]
