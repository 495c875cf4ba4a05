"""What a key may do: every route against every scope, keys that expire, and keys that take over from others."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from errors import InvalidInput, NotFound
from gateway.app import all_routes
from gateway.application import Application
from gateway.asked import Asked
from gateway.authentication import FRESH_S, NOTED_S, Authentication
from gateway.front import Front
from gateway.routes import Route
from gateway.suspending import Step, run
from storage.access import SCOPES, Access, Grant, digest
from storage.clock import wall_ms
from storage.deliveries import Planned
from storage.job import Status
from tests.gateway.gate import ECHO, Gate, Ticks
from tests.gateway.test_access import bearer


@pytest.fixture
def open_gate(make: Callable[..., Gate]) -> Gate:
    """A gateway that listens to everybody."""
    return make(host="0.0.0.0")


def ask(gate: Gate, route: Route, headers: dict[str, str]) -> Any:
    """Ask for a route with nothing behind it."""
    path = route.path.replace("<", "").replace(">", "")
    return gate.client.open(path, method=route.method, headers=headers)


def test_every_route_takes_the_keys_that_have_its_scope_and_no_other(open_gate: Gate) -> None:
    keys = {scope: open_gate.parts.access.create("acme", scopes=[scope]) for scope in SCOPES}
    for route in all_routes(open_gate.parts):
        for scope, key in keys.items():
            answer = ask(open_gate, route, bearer(key))
            if route.scope in (None, scope):
                assert answer.status_code != 401
                # A view may ask for a second one: whoever names a webhook is told of every job.
                assert f'scope="{scope}"' not in answer.headers.get("WWW-Authenticate", ""), (route.name, scope)
            else:
                assert (answer.status_code, answer.json["code"]) == (403, "forbidden"), (route.name, scope)
                assert f"the scope {route.scope!r}" in answer.json["detail"]
                assert f'scope="{route.scope}"' in answer.headers["WWW-Authenticate"]


def test_every_route_without_a_key_is_401_unless_it_is_public(open_gate: Gate) -> None:
    for route in all_routes(open_gate.parts):
        assert (ask(open_gate, route, {}).status_code == 401) is not route.public, route.name


def test_public_routes_are_these(open_gate: Gate) -> None:
    public = {route.name for route in all_routes(open_gate.parts) if route.public}
    assert public == {"live", "ready", "metrics", "openapi", "docs", "getLink", "putLink"}


def test_quick_routes_obey_scopes_too(open_gate: Gate) -> None:
    assert isinstance(open_gate.app, Application)
    front = Front(open_gate.app, all_routes(open_gate.parts), threads=1, at_end=lambda: None)
    key = open_gate.parts.access.create("acme", scopes=["read"])
    for route in all_routes(open_gate.parts):
        if route.quick and route.scope == "submit":
            environ = {"PATH_INFO": route.path, "HTTP_AUTHORIZATION": f"Bearer {key}"}
            reply = run(front.reply(route, {}, Asked(environ)))
            assert (reply.status, b"'submit'" in reply.body) == (403, True)


def test_key_forgotten_while_its_body_came_is_not_looked_up_on_the_event_loop(
    open_gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(open_gate.app, Application)
    front = Front(open_gate.app, all_routes(open_gate.parts), threads=1, at_end=lambda: None)
    (route,) = [route for route in all_routes(open_gate.parts) if route.name == "getJob"]
    key = open_gate.parts.access.create("acme")
    environ = {"PATH_INFO": "/v1/jobs/job_1", "REQUEST_METHOD": "GET", "HTTP_AUTHORIZATION": f"Bearer {key}"}
    checked: list[str] = []
    check = Access.check

    def note(access: Access, key: str) -> Grant | None:
        checked.append(key)
        return check(access, key)

    monkeypatch.setattr(Access, "check", note)
    request = front.reply(route, {"id": "job_1"}, Asked(environ))
    wish = request.send(None)
    assert isinstance(wish, Step)
    assert checked == []
    wish.block()
    assert checked == [key]
    request.close()


def test_document_says_each_routes_scope(gate: Gate) -> None:
    paths = gate.client.get("/openapi.json").json["paths"]
    assert paths["/v1/jobs"]["post"]["security"] == [{"key": ["submit"]}]
    assert paths["/v1/jobs/{id}"]["get"]["security"] == [{"key": ["read"]}]
    assert paths["/v1/models/{name}/promote"]["post"]["security"] == [{"key": ["admin"]}]
    assert paths["/livez"]["get"]["security"] == []


def test_key_that_may_only_submit_does_not_see_what_came_of_a_job(open_gate: Gate) -> None:
    submit, read = (bearer(open_gate.parts.access.create("acme", scopes=[scope])) for scope in ("submit", "read"))
    id = open_gate.submit(ECHO, **submit)
    open_gate.finish(id)
    canceled = open_gate.client.post(f"/v1/jobs/{id}/cancel", headers=submit).json
    assert (canceled["status"], canceled["outputs"]) == ("succeeded", None)
    assert open_gate.client.get(f"/v1/jobs/{id}", headers=read).json["outputs"] is not None


def test_key_that_may_only_submit_counts_dead_letters_and_sees_none(open_gate: Gate) -> None:
    access = open_gate.parts.access
    submit, both = bearer(access.create("acme", scopes=["submit"])), bearer(access.create("acme"))
    id = open_gate.submit(ECHO, **both)
    open_gate.finish(id, status=Status.FAILED, error=b'{"code":"model_error","detail":"secret"}')
    for named in ({"ids": [id]}, {"all": True}):
        seen = [
            open_gate.client.post("/v1/dead-letters:replay", json=named | {"dry_run": True}, headers=key).json
            for key in (submit, both)
        ]
        assert [(plan["matched"], len(plan["sample"])) for plan in seen] == [(1, 0), (1, 1)]


def test_key_that_may_only_submit_sends_webhooks_again_and_does_not_see_what_came_back(open_gate: Gate) -> None:
    access = open_gate.parts.access
    submit, both = bearer(access.create("acme", scopes=["submit"])), bearer(access.create("acme"))
    id = open_gate.submit(ECHO | {"webhook": {"url": "https://hooks.example/"}}, **both)
    open_gate.finish(id)
    (entry,) = open_gate.parts.deliveries.outbox(limit=9)
    planned = Planned("msg_1", "acme/@hooks.example", entry.event, "", "https://hooks.example/")
    open_gate.parts.deliveries.expand(entry, [planned], b"{}")
    seen = [open_gate.client.post(f"/v1/jobs/{id}/redeliver", headers=key) for key in (submit, both)]
    assert [(answer.status_code, len(answer.json["data"])) for answer in seen] == [(202, 0), (202, 1)]


def test_endpoint_is_tested_by_a_key_that_may_read_alone(open_gate: Gate) -> None:
    access = open_gate.parts.access
    submit, both = bearer(access.create("acme", scopes=["submit"])), bearer(access.create("acme"))
    made = open_gate.parts.endpoints.create("acme", "https://hooks.example/", events=("job.completed",))
    answers = [open_gate.client.post(f"/v1/webhooks/{made.id}/test", headers=key) for key in (submit, both)]
    assert [answer.status_code for answer in answers] == [403, 202]


def test_record_from_before_there_were_scopes_is_read(gate: Gate) -> None:
    access = gate.parts.access
    for key, admin in (("psk_plain", "false"), ("psk_admin", "true")):
        record = f'{{"id":"{key}","tenant":"acme","name":"","admin":{admin},"created_ms":5}}'
        gate.store.hset("penstock:keys", digest(key), record)
    plain, admin_ = access.check("psk_plain"), access.check("psk_admin")
    assert plain is not None
    assert admin_ is not None
    assert (plain.scopes, admin_.scopes) == (("submit", "read"), ("submit", "read", "admin"))
    rotated, _ = access.rotate("psk_admin", overlap_s=60)
    assert (successor := access.check(rotated)) is not None
    assert successor.scopes == admin_.scopes


@pytest.mark.parametrize("scopes", [[], ["write"], ["submit", "root"]])
def test_unknown_scope_is_refused(gate: Gate, scopes: list[str]) -> None:
    with pytest.raises(InvalidInput, match="submit, read, admin"):
        gate.parts.access.create("acme", scopes=scopes)


def test_expired_key_is_401_though_it_was_just_used(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, now_ms = Ticks(), [wall_ms()]
    for module in ("storage.access", "gateway.authentication"):
        monkeypatch.setattr(f"{module}.wall_ms", lambda: now_ms[0])
    authentication = Authentication(gate.parts.access, gate.parts.settings, clock=clock)
    environ = {"HTTP_AUTHORIZATION": f"Bearer {gate.parts.access.create('acme', expires_s=2)}"}
    assert authentication.grant(environ).tenant == "acme"
    # Two seconds, which is less than the time that a key is trusted without asking the store.
    assert FRESH_S > 2
    clock.now += 2
    now_ms[0] += 2000
    with pytest.raises(Exception, match="has expired"):
        authentication.grant(environ)


def test_rotated_key_and_its_successor_both_live_until_the_overlap_ends(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    access, now_ms = gate.parts.access, [wall_ms()]
    monkeypatch.setattr("storage.access.wall_ms", lambda: now_ms[0])
    old, grant = access.issue("acme", "ci", scopes=["read"], expires_s=1000)
    new, successor = access.rotate(grant.id, overlap_s=60)
    assert (successor.tenant, successor.name, successor.scopes) == ("acme", "ci", ("read",))
    assert (successor.replaces, successor.expires_ms - successor.created_ms) == (grant.id, 1_000_000)
    assert access.check(old)
    assert access.check(new)
    now_ms[0] += 60_000
    assert access.check(old) is None
    assert access.check(new)
    with pytest.raises(NotFound, match="expired"):
        access.rotate(grant.id, overlap_s=60)


def test_key_revoked_while_it_is_rotated_does_not_come_back(gate: Gate) -> None:
    class Slow(Access):
        """Another operator revokes the key between its reading and its writing."""

        def _find(self, id: str) -> tuple[bytes, bytes, Grant]:
            found = super()._find(id)
            gate.parts.access.revoke(id)
            return found

    _, grant = gate.parts.access.issue("acme", scopes=["read"])
    with pytest.raises(NotFound, match="just been changed or revoked"):
        Slow(gate.store).rotate(grant.id, overlap_s=60)
    assert gate.parts.access.list() == []


def test_last_use_is_kept_to_a_minute_and_costs_a_write_a_minute(gate: Gate) -> None:
    clock, access = Ticks(), gate.parts.access
    authentication = Authentication(access, gate.parts.settings, clock=clock)
    key, grant = access.issue("acme", scopes=["read"])
    environ = {"HTTP_AUTHORIZATION": f"Bearer {key}"}
    assert access.last_used() == {}
    authentication.grant(environ)
    first = access.last_used()[grant.id]
    assert abs(first - wall_ms()) < 60_000
    gate.store.hset("penstock:keys:used", grant.id, 1)
    clock.now += NOTED_S - 1
    authentication.grant(environ)
    assert access.last_used() == {grant.id: 1}
    clock.now += 1 + FRESH_S
    authentication.grant(environ)
    assert access.last_used()[grant.id] >= first
    access.revoke(grant.id)
    assert access.last_used() == {}


def test_grants_of_old_and_new_are_the_same_text(gate: Gate) -> None:
    _, grant = gate.parts.access.issue("acme", scopes={"admin", "submit"})
    assert grant.scopes == ("submit", "admin")
    assert msgspec.json.decode(msgspec.json.encode(grant), type=Grant) == grant
