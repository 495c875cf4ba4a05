"""Access: keys, tenants that cannot see each other, and the keyless loopback."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from errors import InvalidInput, NotFound, OperatorError, Unauthenticated
from gateway.app import from_settings
from gateway.authentication import FRESH_S, Authentication, is_loopback, require_keys
from settings import Settings
from tests.gateway.gate import ECHO, Gate, Ticks


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def open_gate(make: Callable[..., Gate]) -> Gate:
    """A gateway that listens to everybody."""
    return make(host="0.0.0.0")


def test_key_is_stored_as_a_digest_only(gate: Gate) -> None:
    key = gate.parts.access.create("acme", "ci")
    assert key.startswith("psk_")
    stored = gate.store.hgetall("penstock:keys")
    assert key not in str(stored)
    (grant,) = gate.parts.access.list()
    assert (grant.tenant, grant.name) == ("acme", "ci")


@pytest.mark.parametrize("tenant", ["", "Acme", "a/b", "../x", "a" * 64, "a b", "a\n"])
def test_tenant_that_could_not_stand_in_a_key_is_refused(gate: Gate, tenant: str) -> None:
    with pytest.raises(InvalidInput):
        gate.parts.access.create(tenant)


def test_request_without_a_key_is_401_where_anybody_may_ask(open_gate: Gate) -> None:
    for headers in ({}, bearer("psk_wrong"), {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}):
        answer = open_gate.client.post("/v1/jobs", json=ECHO, headers=headers)
        assert (answer.status_code, answer.json["code"]) == (401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="penstock"'
    key = open_gate.parts.access.create("acme")
    answer = open_gate.client.post("/v1/jobs", json=ECHO, headers={"Authorization": f"bearer  {key}"})
    assert answer.status_code == 202
    assert open_gate.record(answer.json["id"]).tenant == "acme"


def test_farm_with_servers_always_asks_for_a_key(make: Callable[..., Gate]) -> None:
    gate = make(broker_url="amqp://localhost", redis_url="redis://localhost")
    assert gate.client.get("/v1/jobs").status_code == 401


def test_wrong_key_is_refused_on_loopback_too(gate: Gate) -> None:
    assert gate.client.get("/v1/jobs", headers=bearer("psk_wrong")).status_code == 401


def test_tenants_cannot_see_each_other(open_gate: Gate) -> None:
    acme, umbra = (bearer(open_gate.parts.access.create(tenant)) for tenant in ("acme", "umbra"))
    id = open_gate.submit(ECHO, **acme)
    client = open_gate.client
    seen = [
        client.get(f"/v1/jobs/{id}", headers=umbra),
        client.get(f"/v1/jobs/{id}?wait=5", headers=umbra),
        client.get(f"/v1/jobs/{id}/result", headers=umbra),
        client.post(f"/v1/jobs/{id}/cancel", headers=umbra),
        client.post(f"/v1/jobs/{id}/retry", headers=umbra),
        client.delete(f"/v1/jobs/{id}", headers=umbra),
    ]
    unknown = client.get("/v1/jobs/job_nothing", headers=umbra)
    assert {answer.status_code for answer in seen} == {404}
    assert seen[0].json["detail"] == unknown.json["detail"].replace("job_nothing", id)
    assert client.get(f"/v1/jobs/{id}", headers=acme).json["status"] == "queued"


def test_revoked_key_is_forgotten_within_five_seconds(gate: Gate) -> None:
    clock, access = Ticks(), gate.parts.access
    authentication = Authentication(access, gate.parts.settings, clock=clock)
    key = access.create("acme")

    def ask() -> str:
        return authentication.grant({"HTTP_AUTHORIZATION": f"Bearer {key}"}).tenant

    assert ask() == "acme"
    access.revoke(access.list()[0].id)
    assert ask() == "acme"
    clock.now += FRESH_S
    assert FRESH_S <= 5
    with pytest.raises(Unauthenticated):
        ask()


def test_unknown_key_cannot_be_revoked(gate: Gate) -> None:
    with pytest.raises(NotFound):
        gate.parts.access.revoke("key_nothing")


def test_remembered_keys_are_bounded(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    import gateway.authentication

    monkeypatch.setattr(gateway.authentication, "REMEMBERED", 3)
    authentication = Authentication(gate.parts.access, gate.parts.settings)
    for number in range(8):
        key = gate.parts.access.create(f"tenant{number}")
        assert authentication.grant({"HTTP_AUTHORIZATION": f"Bearer {key}"}).tenant == f"tenant{number}"
    assert len(authentication._known) <= 3


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "127.9.9.9"])
def test_loopback_is_tenant_local_without_a_key(gate: Gate, host: str) -> None:
    headers = {"Host": host, "Origin": f"http://{host}"}
    answer = gate.client.post("/v1/jobs", json=ECHO, headers=headers)
    assert gate.record(answer.json["id"]).tenant == "local"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example"},
        {"Host": "127.0.0.1.evil.example:8080"},
        {"Host": "localhost:8080", "Origin": "https://evil.example"},
        {"Host": "localhost:8080", "Origin": "null"},
        {"Host": "localhost:8080", "Origin": "http://localhost:3000"},
        {"Host": "[oops"},
    ],
)
def test_pages_from_elsewhere_cannot_use_the_keyless_loopback(gate: Gate, headers: dict[str, str]) -> None:
    body, kind = json.dumps(ECHO), "application/json"
    answer = gate.client.post("/v1/jobs", data=body, content_type=kind, headers=headers)
    assert answer.status_code in (400, 403)
    assert gate.queued() == []


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("::", False), ("farm", False)],
)
def test_loopback_is_known_by_its_address(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_embedded_farm_refuses_to_listen_to_others_without_a_key(gate: Gate) -> None:
    settings = Settings(host="0.0.0.0")
    with pytest.raises(OperatorError, match="penstock key create"):
        require_keys(gate.parts.access, settings)
    require_keys(gate.parts.access, Settings(host="127.0.0.1"))
    gate.parts.access.create("acme")
    require_keys(gate.parts.access, settings)


def test_gateway_that_would_listen_to_others_without_a_key_does_not_start(gate: Gate, tmp_path: Path) -> None:
    (tmp_path / "valkey.sock").symlink_to(gate.store.connection_pool.connection_kwargs["path"])
    with pytest.raises(OperatorError):
        from_settings(Settings(host="0.0.0.0", data=tmp_path))
