"""Two tenants: whatever belongs to one is 404 to the other, on every route that there is and that comes to be.

A route whose path has a variable must say here whose that is: a new kind of thing without a fixture fails the sweep.
"""

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from gateway.app import all_routes
from gateway.routes import Route
from storage.access import SCOPES
from storage.driven import take
from storage.job import Status
from storage.scoring import ScoringStatus
from tests.gateway.gate import ECHO, Gate
from tests.gateway.test_access import bearer

#: Stands in whatever the first tenant makes, so that it can be found in what the second is told.
MARK = "acme-and-nobody-else"
SUBMISSION = ECHO | {"metadata": {"mark": MARK}}
Headers = dict[str, str]


def queued(gate: Gate, headers: Headers) -> str:
    return gate.submit(SUBMISSION, **headers)


def done(gate: Gate, headers: Headers) -> str:
    id = gate.submit(SUBMISSION, **headers)
    gate.finish(id, {"y": MARK})
    return id


def failed(gate: Gate, headers: Headers) -> str:
    id = gate.submit(SUBMISSION, **headers)
    error = json.dumps({"code": "model_error", "status": 500, "detail": MARK}).encode()
    gate.finish(id, status=Status.FAILED, error=error)
    return id


def stored(gate: Gate, headers: Headers) -> str:
    answer = gate.client.post("/v1/objects", data=MARK.encode(), headers=headers)
    return str(answer.json["id"])


def uploading(gate: Gate, headers: Headers) -> str:
    return str(gate.client.post("/v1/uploads", json={"bytes": 7}, headers=headers).json["id"])


def endpoint(gate: Gate, headers: Headers) -> str:
    wish = {"url": f"https://{MARK}.example/hook", "description": MARK}
    return str(gate.client.post("/v1/webhooks", json=wish, headers=headers).json["id"])


def replayed(gate: Gate, headers: Headers) -> str:
    return str(gate.client.post("/v1/dead-letters:replay", json={"code": MARK}, headers=headers).json["id"])


def scored(gate: Gate, headers: Headers) -> str:
    """One that has ended, with a file of errors, so that everything can be asked of it."""
    wish = {"model": "narrow", "input": {"object": stored(gate, headers)}, "format": "csv", "metadata": {"mark": MARK}}
    id = str(gate.client.post("/v1/scorings", json=wish, headers=headers).json["id"])
    hold = take(gate.parts.scorings)
    assert hold is not None
    hold.note(to=ScoringStatus.FAILED, fields={"failed": 1, "errors_key": f"acme/scorings/{id}/errors.jsonl"})
    return id


def output(gate: Gate, headers: Headers) -> str:
    id = scored(gate, headers)
    gate.parts.objects.put(f"acme/scorings/{id}/errors.jsonl", [MARK.encode()])
    return id + "-errors"


#: What a tenant owns: the path that names one, and ways to make one.
OWNED: dict[str, tuple[Callable[[Gate, Headers], str], ...]] = {
    "/v1/jobs/<id>": (queued, done, failed),
    "/v1/objects/<id>": (stored, output),
    "/v1/uploads/<id>": (uploading,),
    "/v1/scorings/<id>": (scored,),
    "/v1/webhooks/<id>": (endpoint,),
    "/v1/replays/<id>": (replayed,),
}
#: What no tenant owns: models are the farm's, and a signed link is itself what allows its use.
COMMON = ("/v1/models/<name>", "/v1/links/<token>")


class Pair(NamedTuple):
    gate: Gate
    acme: Headers
    umbra: Headers

    def ask(self, route: Route, path: str, headers: Headers) -> Any:
        body: dict[str, Any] = {"json": {}} if route.method in ("POST", "PUT", "PATCH") else {}
        return self.gate.client.open(path, method=route.method, headers=headers, **body)

    def world(self) -> dict[str, object]:
        """Everything that is stored, but for what a request itself leaves: the uses of keys."""
        kinds = {"hash": "hgetall", "zset": "zrange", "set": "smembers", "list": "lrange", "string": "get"}
        found: dict[str, object] = {}
        for key in self.gate.store.keys("*"):
            kind = self.gate.store.type(key).decode()
            span = (0, -1) if kind in ("zset", "list") else ()
            if b"keys:used" not in key:
                found[key] = getattr(self.gate.store, kinds[kind])(key, *span)
        return found


@pytest.fixture
def pair(make: Callable[..., Gate]) -> Pair:
    gate = make(host="0.0.0.0")
    acme, umbra = (bearer(gate.parts.access.create(tenant, scopes=SCOPES)) for tenant in ("acme", "umbra"))
    return Pair(gate, acme, umbra)


def owner(route: Route) -> str:
    """The path in OWNED that a route is about."""
    return next((path for path in OWNED if re.match(re.escape(path) + r"(/|$)", route.path)), "")


def keyed(gate: Gate) -> list[Route]:
    return [route for route in all_routes(gate.parts) if not route.public]


def test_every_route_with_a_variable_has_a_fixture(pair: Pair) -> None:
    for route in all_routes(pair.gate.parts):
        if "<" in route.path and not route.path.startswith(COMMON):
            assert owner(route), f"{route.name} {route.path}: say in OWNED how such a thing is made"
            assert "<" not in route.path.removeprefix(owner(route)), f"{route.path}: a thing within a thing"


def test_what_is_anothers_is_404_and_untouched(pair: Pair) -> None:
    asked = 0
    for route in keyed(pair.gate):
        for maker in OWNED.get(owner(route), ()):
            id = maker(pair.gate, pair.acme)
            kind, path = owner(route), route.path.replace("<id>", id)
            before = pair.world()
            answer = pair.ask(route, path, pair.umbra)
            assert (answer.status_code, answer.json["code"]) == (404, "not_found"), (route.name, maker.__name__)
            assert MARK not in answer.text
            assert pair.world() == before, f"{route.name} changed what is another's"
            # What is not there at all is answered alike, so that nobody learns which ids there are.
            unknown = path.replace(id, id[:-4] + "0000")
            nothing = pair.ask(route, unknown, pair.umbra).json
            assert nothing["detail"].replace(id[:-4] + "0000", id) == answer.json["detail"], (kind, route.name)
            asked += 1
    assert asked >= 15


def test_what_is_ones_own_is_not_404(pair: Pair) -> None:
    """Else the sweep would find nothing anywhere."""
    for route in keyed(pair.gate):
        for maker in OWNED.get(owner(route), ()):
            id = maker(pair.gate, pair.acme)
            with pair.ask(route, route.path.replace("<id>", id), pair.acme) as answer:
                # A job that nobody was to be told of has nothing to redeliver, and the answer says so of that job.
                assert answer.status_code != 404 or "has no deliver" in answer.json["detail"], route.name


def test_lists_and_deeds_without_an_id_never_reach_anothers(pair: Pair) -> None:
    ids = [maker(pair.gate, pair.acme) for makers in OWNED.values() for maker in makers]
    before = {id: pair.gate.record(id) for id in ids if id.startswith("job_")}
    for route in keyed(pair.gate):
        if "<" in route.path:
            continue
        for query in ("", f"?cursor={ids[0]}", "?tenant=acme"):
            answer = pair.ask(route, route.path + query, pair.umbra)
            assert answer.status_code < 500, (route.name, answer.text)
            assert MARK not in answer.text, route.name
            assert not [id for id in ids if id in answer.text and id not in query], route.name
    assert {id: pair.gate.record(id) for id in before} == before


def test_anothers_object_is_no_input(pair: Pair) -> None:
    id = stored(pair.gate, pair.acme)
    for given in (id, f"../../acme/objects/{id}", f"acme/objects/{id}"):
        submission = {"model": "reader", "inputs": {"image": {"object": given}}}
        answer = pair.gate.client.post("/v1/jobs", json=submission, headers=pair.umbra)
        assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")


def test_same_idempotency_key_of_two_tenants_is_two_jobs(pair: Pair) -> None:
    first, second = (
        pair.gate.submit(SUBMISSION, **headers, Idempotency_Key="same") for headers in (pair.acme, pair.umbra)
    )
    assert first != second


def test_waiting_and_events_do_not_tell_of_anothers_job(pair: Pair) -> None:
    id = queued(pair.gate, pair.acme)
    for path in (f"/v1/jobs/{id}?wait=30", f"/v1/jobs/{id}/events"):
        assert pair.gate.client.get(path, headers=pair.umbra).status_code == 404
