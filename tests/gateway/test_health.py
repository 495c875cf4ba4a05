"""Health: what is ready, what is not, and why."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.gateway.gate import Gate, make_gate
from tests.services.valkey import valkey_service


def ready(gate: Gate) -> tuple[int, Any]:
    answer = gate.client.get("/readyz")
    return answer.status_code, answer.json


def serve_all(gate: Gate) -> None:
    for name, entries in gate.parts.catalog.models.items():
        gate.serve(name, version=entries[-1].version)


def test_live_process_says_so(gate: Gate) -> None:
    assert gate.client.get("/livez").json == {"status": "ok"}


def test_farm_is_ready_once_every_model_is(gate: Gate) -> None:
    status, body = ready(gate)
    assert (status, body["status"]) == (503, "not_ready")
    assert body["models"]["echo/1"] == {"ready": False, "reason": "no worker serves it"}
    serve_all(gate)
    status, body = ready(gate)
    assert (status, body["status"]) == (200, "ready")
    assert list(body["models"]) == [f"{name}/{2 if name == 'reader' else 1}" for name in gate.parts.catalog.models]
    assert {check["ready"] for check in body["models"].values()} == {True}


def test_broken_manifest_is_named_and_waited_for_by_nobody(gate: Gate) -> None:
    serve_all(gate)
    status, body = ready(gate)
    assert status == 200
    assert "model.yaml" in body["broken"]["broken"]


def test_model_that_could_not_be_loaded_keeps_the_farm_unready_with_its_reason(gate: Gate) -> None:
    serve_all(gate)
    gate.serve("pair", "failed", reason="no such file")
    status, body = ready(gate)
    assert status == 503
    assert body["models"]["pair/1"] == {"ready": False, "reason": "it could not be loaded: no such file"}
    gate.serve("pair", "loading")
    assert ready(gate)[1]["models"]["pair/1"]["reason"] == "it is loading"


def test_store_and_broker_that_are_away_are_named(tmp_path: Path, repository: Path) -> None:
    valkey = valkey_service(tmp_path / "v")
    valkey.start()
    gate = make_gate(tmp_path, repository, valkey)
    valkey.stop()
    try:
        status, body = ready(gate)
        assert status == 503
        assert not body["store"]["ready"]
        assert not body["broker"]["ready"]
        assert body["objects"] == {"ready": True}
        assert gate.client.get("/livez").status_code == 200
    finally:
        gate.close()


def test_object_store_that_cannot_be_used_is_named(make: Callable[..., Gate], tmp_path: Path) -> None:
    gate = make()
    serve_all(gate)
    assert ready(gate)[0] == 200
    import shutil

    shutil.rmtree(tmp_path / "objects")
    (tmp_path / "objects").write_text("in the way")
    status, body = ready(gate)
    assert (status, body["objects"]["ready"]) == (503, False)


def test_health_asks_for_no_key(make: Callable[..., Gate]) -> None:
    gate = make(host="0.0.0.0")
    assert gate.client.get("/v1/jobs").status_code == 401
    for path in ("/livez", "/metrics", "/openapi.json", "/docs"):
        assert gate.client.get(path).status_code == 200
    assert gate.client.get("/readyz").status_code == 503
