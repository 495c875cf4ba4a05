"""The object store keeps what it is given, whole or not at all; the same tests on a folder and on a real S3 server."""

import hashlib
import io
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
from minio.commonconfig import Filter
from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule

from errors import (
    InputChanged,
    InvalidInput,
    NotFound,
    ObjectsUnavailable,
    PayloadTooLarge,
    PenstockError,
    SettingsError,
)
from storage.objects import Objects, open_objects
from storage.s3 import S3
from storage.s3server import parse
from storage.tidying import abort_unfinished_uploads
from tests.services.ceph import ceph_service
from tests.services.fixtures import require_servers
from tests.services.ports import free_port

MIB = 2**20


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.service)])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Objects]:
    if request.param == "folder":
        yield open_objects(f"file://{tmp_path}/objects")
        return
    store = open_objects(request.getfixturevalue("objects_url"))
    store.delete_prefix("")
    yield store


@pytest.fixture
def s3(objects_url: str) -> S3:
    return S3(parse(objects_url))


def test_stored_bytes_come_back_with_their_hash(objects: Objects) -> None:
    stored = objects.put("acme/obj_1", [b"sluice", b"", b" gate"])
    assert (stored.bytes, stored.sha256) == (11, hashlib.sha256(b"sluice gate").hexdigest())
    assert objects.read("acme/obj_1") == b"sluice gate"
    assert b"".join(objects.open("acme/obj_1")) == b"sluice gate"
    assert objects.size("acme/obj_1") == 11


def test_a_hash_that_nobody_asks_for_is_not_made(objects: Objects) -> None:
    stored = objects.put("acme/obj_1", [b"sluice", b" gate"], digest=False)
    assert (stored.bytes, stored.sha256) == (11, "")
    assert objects.read("acme/obj_1") == b"sluice gate"


def test_empty_object_is_an_object(objects: Objects) -> None:
    assert objects.put("acme/empty", []).bytes == 0
    assert objects.size("acme/empty") == 0
    assert objects.read("acme/empty") == b""


def test_file_is_stored_as_it_is_whatever_its_lines(objects: Objects) -> None:
    content = b"one line, " * 100_000 + b"\nand another"
    assert objects.put("file", io.BytesIO(content)).bytes == len(content)
    assert objects.read("file") == content


def test_second_put_replaces_the_first(objects: Objects) -> None:
    objects.put("key", [b"long first value"])
    objects.put("key", [b"second"])
    assert objects.read("key") == b"second"


def test_absent_object_is_not_found_before_the_first_piece(objects: Objects) -> None:
    with pytest.raises(NotFound):
        objects.open("acme/nothing")
    with pytest.raises(NotFound):
        objects.read("acme/nothing")
    assert objects.size("acme/nothing") is None


def test_deleting_twice_is_as_deleting_once(objects: Objects) -> None:
    objects.put("acme/obj_1", [b"x"])
    objects.delete("acme/obj_1")
    objects.delete("acme/obj_1")
    assert objects.size("acme/obj_1") is None


def test_prefix_names_and_erases_what_begins_so(objects: Objects) -> None:
    for key in ("acme/jobs/1/out", "acme/jobs/1/in", "acme/jobs/10/out", "other/jobs/1/out"):
        objects.put(key, [b"x"])
    assert sorted(objects.keys("acme/jobs/1/")) == ["acme/jobs/1/in", "acme/jobs/1/out"]
    assert sorted(objects.keys("acme/jobs/1")) == ["acme/jobs/1/in", "acme/jobs/1/out", "acme/jobs/10/out"]
    objects.delete_prefix("acme/jobs/1/")
    assert sorted(objects.keys()) == ["acme/jobs/10/out", "other/jobs/1/out"]
    assert list(objects.keys("nobody/")) == []


def test_source_that_breaks_leaves_nothing(objects: Objects) -> None:
    def broken() -> Iterator[bytes]:
        # More than one part of an S3 upload, so that the first is stored already.
        for _ in range(20):
            yield bytes(MIB)
        raise ConnectionResetError("the client went away")

    with pytest.raises(ConnectionResetError):
        objects.put("acme/broken", broken())
    assert list(objects.keys()) == []
    assert objects.size("acme/broken") is None


def test_source_that_breaks_leaves_the_older_object(objects: Objects) -> None:
    def broken() -> Iterator[bytes]:
        yield b"new"
        raise ConnectionResetError("the client went away")

    objects.put("key", [b"old"])
    with pytest.raises(ConnectionResetError):
        objects.put("key", broken())
    assert objects.read("key") == b"old"


def test_upload_over_its_limit_is_refused_early_and_leaves_nothing(objects: Objects) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield bytes(MIB)

    with pytest.raises(PayloadTooLarge):
        objects.put("acme/endless", endless(), max_bytes=20 * MIB)
    assert taken == 21
    assert list(objects.keys()) == []


def test_limit_itself_is_allowed(objects: Objects) -> None:
    assert objects.put("key", [b"12345"], max_bytes=5).bytes == 5
    assert objects.read("key", max_bytes=5) == b"12345"
    with pytest.raises(PayloadTooLarge):
        objects.read("key", max_bytes=4)


def test_large_object_passes_both_ways_in_little_memory(objects: Objects) -> None:
    size = 200
    tracemalloc.start()
    try:
        stored = objects.put("large", (bytes(MIB) for _ in range(size)))
        received = sum(len(chunk) for chunk in objects.open("large"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert stored.bytes == received == size * MIB
    assert peak < 40 * MIB


def test_reader_may_stop_in_the_middle(objects: Objects) -> None:
    objects.put("large", [bytes(4 * MIB)])
    for _ in range(3):
        reader = objects.open("large")
        assert next(reader)
        reader.close()
    assert objects.size("large") == 4 * MIB


def test_threads_share_one_store(objects: Objects) -> None:
    faults: list[Exception] = []

    def work(number: int) -> None:
        try:
            for turn in range(10):
                key = f"shared/{number}/{turn}"
                objects.put(key, [key.encode()])
                assert objects.read(key) == key.encode()
                objects.delete(key)
        except (OSError, PenstockError) as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert list(objects.keys()) == []


@pytest.mark.parametrize(
    "key", ["", "/", "/etc/passwd", "a//b", "..", "a/../b", "a/.", ".hidden", "a\0b", "a\\b", "a/"]
)
def test_key_that_is_none_is_refused_everywhere(objects: Objects, key: str) -> None:
    for call in (objects.open, objects.size, objects.delete, objects.read, lambda key: objects.put(key, [b"x"])):
        with pytest.raises(InvalidInput):
            call(key)
    with pytest.raises(InvalidInput):
        objects.url(key, 60) or objects.size(key)


def test_store_can_be_asked_whether_it_is_ready(objects: Objects) -> None:
    objects.ready()
    objects.ready()


@pytest.mark.service
def test_presigned_url_gives_the_bytes_to_anyone_until_it_expires(s3: Objects) -> None:
    s3.put("shown", [b"content"])
    url = s3.url("shown", 1)
    assert url is not None
    assert get(url) == (200, b"content")
    deadline = time.monotonic() + 10
    while get(url)[0] == 200:
        assert time.monotonic() < deadline, "the URL still works ten seconds after its end"
        time.sleep(0.1)
    assert get(url)[0] == 403


@pytest.mark.service
def test_presigned_url_opens_nothing_else(s3: Objects) -> None:
    s3.put("shown", [b"content"])
    s3.put("hidden", [b"secret"])
    url = s3.url("shown", 60)
    assert url is not None
    assert get(url.replace("/shown", "/hidden"))[0] == 403
    assert get(url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"))[0] == 403
    assert get(url.partition("?")[0])[0] == 403
    assert urllib3.request("PUT", url, body=b"changed").status == 403


@pytest.mark.service
def test_presigned_put_stores_what_anyone_sends(s3: Objects) -> None:
    url = s3.put_url("sent", 60)
    assert url is not None
    assert urllib3.request("PUT", url, body=b"from a client").status == 200
    assert s3.read("sent") == b"from a client"
    assert get(url)[0] == 403


@pytest.mark.service
def test_presigned_put_for_one_length_takes_no_other(s3: Objects) -> None:
    content = b"from a client"
    url = s3.put_url("acme/objects/sent é", 60, length=len(content))
    assert url is not None
    for body in (content + b"!", content[:-1], b"", bytes(20 * MIB)):
        assert put(url, body) == 403
    assert s3.size("acme/objects/sent é") is None
    # The length is what is signed: one that is claimed and not kept stores nothing either.
    assert put(url.replace("content-length%3Bhost", "host"), content) == 403
    assert put(url.replace("/sent", "/other"), content) == 403
    assert put(url.replace("X-Amz-Expires=60", "X-Amz-Expires=600"), content) == 403
    assert put(url, content) == 200
    assert s3.read("acme/objects/sent é") == content
    assert get(url)[0] == 403


def put(url: str, body: bytes) -> int:
    return urllib3.request("PUT", url, body=body, retries=False).status


@pytest.mark.service
def test_no_presigned_url_works_for_longer_than_a_quarter_of_an_hour(s3: Objects) -> None:
    for url in (s3.url("a", 10**6), s3.put_url("a", 10**6), s3.put_url("a", 10**6, length=5)):
        assert url is not None
        assert "X-Amz-Expires=900" in url


@pytest.mark.service
def test_browser_keeps_a_presigned_download_and_does_not_show_it(s3: Objects) -> None:
    s3.put("page", [b"<script>alert(1)</script>"])
    answer = urllib3.request("GET", s3.url("page", 60) or "")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == "attachment"


@pytest.mark.service
def test_parts_of_an_unfinished_upload_are_erased_after_a_day(s3: S3) -> None:
    """The server of the tests takes five seconds for a day."""
    s3.put("finished", [b"stays"])
    upload = s3._client._create_multipart_upload(s3._bucket, "unfinished", {})
    s3._client._upload_part(s3._bucket, "unfinished", bytes(5 * MIB), None, upload, 1)

    def unfinished() -> list[str]:
        found = s3._client._list_multipart_uploads(s3._bucket)
        return [one.object_name for one in found.uploads]

    assert unfinished() == ["unfinished"]
    deadline = time.monotonic() + 50
    while unfinished():
        assert time.monotonic() < deadline, "the upload's parts are still there"
        time.sleep(0.5)
    assert s3.read("finished") == b"stays"


@pytest.mark.service
def test_rule_against_unfinished_uploads_stands_beside_the_operators_own(s3: S3) -> None:
    own = Rule("Enabled", rule_filter=Filter(prefix="logs/"), rule_id="own", expiration=Expiration(days=300))
    s3._client.set_bucket_lifecycle(s3._bucket, LifecycleConfig([own]))
    for _ in range(2):
        abort_unfinished_uploads(s3._client, s3._bucket)
    found = s3._client.get_bucket_lifecycle(s3._bucket)
    assert found is not None
    assert sorted(str(rule.rule_id) for rule in found.rules) == ["own", "penstock-unfinished-uploads"]


@pytest.mark.service
def test_wrong_secret_is_refused(objects_url: str) -> None:
    user, _, rest = objects_url.rpartition("@")
    stranger = open_objects(user[:-1] + ("0" if user[-1] != "0" else "1") + "@" + rest)
    with pytest.raises(ObjectsUnavailable):
        stranger.ready()
    with pytest.raises(ObjectsUnavailable, match="SignatureDoesNotMatch"):
        stranger.read("anything")


@pytest.mark.service
def test_bucket_that_is_missing_is_made_at_first_use(objects_url: str) -> None:
    server, _, options = objects_url.rpartition("/")[0], "", "?secure=false"
    store = open_objects(f"{server}/{'fresh-bucket'}{options}")
    assert list(store.keys()) == []
    assert store.size("key") is None
    store.put("key", [b"x"])
    assert store.read("key") == b"x"
    store.delete("key")


def test_store_that_is_not_there_says_so_soon() -> None:
    store = open_objects(f"s3://key:secret@127.0.0.1:{free_port()}/bucket?secure=false")
    begin = time.monotonic()
    for call in (store.ready, lambda: store.read("key"), lambda: store.put("key", [b"x"]), lambda: list(store.keys())):
        with pytest.raises(ObjectsUnavailable) as caught:
            call()
        assert caught.value.__cause__ is not None
    assert time.monotonic() - begin < 4


@pytest.mark.service
def test_store_that_hangs_or_restarts_is_unavailable_meanwhile(tmp_path: Path) -> None:
    require_servers()
    ceph = ceph_service(tmp_path)
    ceph.start()
    try:
        store = open_objects(ceph.url)
        store.put("key", [b"x"])
        ceph.pause()
        begin = time.monotonic()
        # One read may slip by before every thread of it stands still.
        with pytest.raises(ObjectsUnavailable):
            [store.read("key") for _ in range(100)]
        assert time.monotonic() - begin < 4.5
        ceph.resume()
        ceph.stop()
        ceph.start()
        assert store.read("key") == b"x"
    finally:
        ceph.stop()


def test_clients_see_the_public_address_in_presigned_urls() -> None:
    public = open_objects("s3://key:secret@objects:8333/bucket?secure=false&public=https://s3.example.com")
    assert (public.url("key", 60) or "").startswith("https://s3.example.com/bucket/key?")
    hidden = open_objects("s3://key:secret@objects:8333/bucket?secure=false&public=none")
    assert hidden.url("key", 60) is hidden.put_url("key", 60) is None


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://host/bucket", "file:// or s3://"),
        ("s3://host/bucket", "key and secret are missing"),
        ("s3://key:hush@host/", "bucket"),
        ("s3://key:hush@host/bucket?secured=false", "unknown option secured"),
        ("s3://key:hush@host/bucket?secure=yes", "secure is true or false"),
    ],
)
def test_wrong_url_is_a_settings_error_without_the_secret(url: str, fault: str) -> None:
    with pytest.raises(SettingsError, match=fault) as caught:
        open_objects(url)
    assert "hush" not in str(caught.value)


def get(url: str) -> tuple[int, bytes]:
    answer = urllib3.request("GET", url)
    return answer.status, answer.data


def test_part_of_an_object_is_read(objects: Objects) -> None:
    objects.put("file", [b"0123456789"])
    assert b"".join(objects.open("file", start=3)) == b"3456789"
    assert b"".join(objects.open("file", start=3, length=4)) == b"3456"
    assert b"".join(objects.open("file", start=8, length=100)) == b"89"
    assert b"".join(objects.open("file", length=0)) == b""


def test_version_changes_with_the_bytes(objects: Objects) -> None:
    objects.put("file", [b"one"])
    first = objects.stat("file")
    assert first is not None
    assert first.bytes == 3
    assert objects.stat("file") == first
    assert b"".join(objects.open("file", etag=first.etag)) == b"one"
    objects.put("file", [b"two"])
    assert objects.stat("file") != first
    with pytest.raises(InputChanged):
        b"".join(objects.open("file", etag=first.etag))
    assert objects.stat("nothing") is None
