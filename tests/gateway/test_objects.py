"""Uploads: streamed in and out, a tenant's own, and links that nobody can forge."""

import hashlib
import io
from collections.abc import Callable, Iterator

import pytest

from errors import Forbidden
from gateway.links import Links
from tests.gateway.gate import Gate, Ticks

CONTENT = bytes(range(256)) * 1000


def path_of(url: str) -> str:
    return url.removeprefix("http://localhost")


@pytest.mark.parametrize("kind", ["application/octet-stream", "", "image/png", "application/x-www-form-urlencoded"])
def test_upload_comes_back_as_it_was(gate: Gate, kind: str) -> None:
    answer = gate.client.post("/v1/objects", data=CONTENT, content_type=kind)
    stored = answer.json
    assert (answer.status_code, stored["bytes"]) == (201, len(CONTENT))
    assert stored["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert answer.headers["Location"] == f"http://localhost/v1/objects/{stored['id']}"
    back = gate.client.get(f"/v1/objects/{stored['id']}")
    assert (back.data, back.headers["Content-Length"]) == (CONTENT, str(len(CONTENT)))
    assert back.headers["X-Content-Type-Options"] == "nosniff"
    assert back.headers["Content-Disposition"] == "attachment"
    assert gate.client.head(f"/v1/objects/{stored['id']}").headers["Content-Length"] == str(len(CONTENT))


def test_form_with_a_file_is_an_upload(gate: Gate) -> None:
    form = {"comment": "x", "file": (io.BytesIO(CONTENT), "page.png")}
    stored = gate.client.post("/v1/objects", data=form, content_type="multipart/form-data").json
    assert gate.client.get(f"/v1/objects/{stored['id']}").data == CONTENT


def test_form_without_a_file_or_with_two_is_400(gate: Gate) -> None:
    forms = [{"comment": "x"}, {"a": (io.BytesIO(b"1"), "a"), "b": (io.BytesIO(b"2"), "b")}]
    for form in forms:
        answer = gate.client.post("/v1/objects", data=form, content_type="multipart/form-data")
        assert (answer.status_code, answer.json["code"]) == (400, "malformed_body")
    assert list(gate.parts.objects.keys()) == []


def test_upload_beyond_the_limit_is_413_and_leaves_nothing(make: Callable[..., Gate]) -> None:
    gate = make(max_object_bytes=1000)
    assert gate.client.post("/v1/objects", data=b"x" * 1001).status_code == 413
    chunked = {"wsgi.input": io.BytesIO(b"x" * 1001), "wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
    assert gate.client.post("/v1/objects", environ_overrides=chunked).status_code == 413
    assert list(gate.parts.objects.keys()) == []
    assert gate.client.post("/v1/objects", data=b"x" * 1000).status_code == 201


def test_upload_is_scheduled_for_erasure(make: Callable[..., Gate]) -> None:
    gate = make(object_ttl_s=0)
    id = gate.client.post("/v1/objects", data=b"x").json["id"]
    assert [due.member for due in gate.parts.jobs.due(limit=10)] == [f"object:local/objects/{id}"]


def test_other_tenants_upload_is_404(gate: Gate) -> None:
    id = gate.client.post("/v1/objects", data=b"x").json["id"]
    acme = {"Authorization": "Bearer " + gate.parts.access.create("acme")}
    answer = gate.client.get(f"/v1/objects/{id}", headers=acme)
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


@pytest.mark.parametrize("id", ["obj_1", "..%2f..%2fetc", "obj_01ARZ3NDEKTSV4RRFFQ69G5FAV"])
def test_unknown_object_is_404(gate: Gate, id: str) -> None:
    assert gate.client.get(f"/v1/objects/{id}").status_code == 404


def test_presigned_link_takes_the_bytes_without_a_key(gate: Gate) -> None:
    made = gate.client.post("/v1/objects:presign")
    assert (made.status_code, made.json["method"]) == (201, "PUT")
    put = gate.client.put(path_of(made.json["url"]), data=CONTENT, headers={"Host": "farm.example"})
    assert (put.status_code, put.json["id"], put.json["bytes"]) == (200, made.json["id"], len(CONTENT))
    assert gate.client.get(f"/v1/objects/{made.json['id']}").data == CONTENT


def test_link_of_one_method_does_not_serve_another(gate: Gate) -> None:
    path = path_of(gate.client.post("/v1/objects:presign").json["url"])
    gate.client.put(path, data=b"x")
    answer = gate.client.get(path)
    assert (answer.status_code, answer.json["code"]) == (403, "forbidden")


@pytest.mark.parametrize("sent", [CONTENT[:-1], CONTENT + b"x", b""])
def test_link_for_one_length_takes_no_other(gate: Gate, sent: bytes) -> None:
    path = path_of(gate.client.post("/v1/objects:presign", json={"bytes": len(CONTENT)}).json["url"])
    answer = gate.client.put(path, data=sent)
    assert (answer.status_code, answer.json["code"]) == (403, "forbidden")
    assert list(gate.parts.objects.keys()) == []
    assert gate.client.put(path, data=CONTENT).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"), [({"bytes": 10**12}, 413), ({"bytes": -1}, 422), ({"byte": 1}, 422), ([], 422)]
)
def test_presigning_refuses_what_could_never_be_stored(gate: Gate, body: object, status: int) -> None:
    assert gate.client.post("/v1/objects:presign", json=body).status_code == status
    assert gate.parts.jobs.due(limit=10) == []


def test_no_link_lives_longer_than_a_quarter_of_an_hour(gate: Gate) -> None:
    clock = Ticks()
    links = Links(gate.parts.access, clock=clock)
    token = links.path("local/objects/a", method="GET", ttl_s=10**9).rpartition("/")[2]
    clock.now += 15 * 60 + 1
    with pytest.raises(Forbidden, match="expired"):
        links.allowed(token, method="GET")


def test_upload_that_came_past_the_gateway_and_is_too_large_is_erased_at_its_use(make: Callable[..., Gate]) -> None:
    gate = make(max_object_bytes=10)
    id = "obj_01ARZ3NDEKTSV4RRFFQ69G5FAV"
    key = f"local/objects/{id}"
    submission = {"model": "reader", "inputs": {"image": {"object": id}}}
    for method, path, body, status in (
        ("GET", f"/v1/objects/{id}", None, 404),
        ("POST", "/v1/jobs", submission, 422),
    ):
        gate.parts.objects.put(key, [b"x" * 11])
        assert gate.client.open(path, method=method, json=body).status_code == status
        assert gate.parts.objects.size(key) is None


def tampered(path: str) -> Iterator[str]:
    head, _, token = path.rpartition("/")
    payload, _, signature = token.partition(".")
    yield f"{head}/{payload}."
    yield f"{head}/{payload}.{signature[::-1]}"
    yield f"{head}/{payload[:-4]}AAAA.{signature}"
    yield f"{head}/nonsense"
    yield f"{head}/é.{signature}"


def test_forged_link_is_403(gate: Gate) -> None:
    path = path_of(gate.client.post("/v1/objects:presign").json["url"])
    for forged in tampered(path):
        answer = gate.client.put(forged, data=b"x")
        assert (answer.status_code, answer.json["code"]) == (403, "forbidden")
    assert list(gate.parts.objects.keys()) == []


def test_link_ends_with_its_time(gate: Gate) -> None:
    clock = Ticks()
    links = Links(gate.parts.access, clock=clock)
    token = links.path("local/objects/a", method="GET", ttl_s=60).rpartition("/")[2]
    assert links.allowed(token, method="GET") == ("local/objects/a", None)
    clock.now += 61
    with pytest.raises(Forbidden, match="expired"):
        links.allowed(token, method="GET")


def test_links_are_read_by_every_gateway_of_the_farm(make: Callable[..., Gate]) -> None:
    one, other = make(), make()
    path = path_of(one.client.post("/v1/objects:presign").json["url"])
    assert other.client.put(path, data=b"x").status_code == 200
