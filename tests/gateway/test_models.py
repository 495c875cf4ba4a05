"""The models: manifests, and what the workers say."""

from tests.gateway.gate import Gate


def test_every_model_is_listed_and_the_broken_one_with_its_reason(gate: Gate) -> None:
    models = {model["name"]: model for model in gate.client.get("/v1/models").json["data"]}
    assert list(models) == ["echo", "narrow", "pair", "reader", "weighed", "broken"]
    assert models["broken"]["state"] == "broken"
    assert "model.yaml" in models["broken"]["reason"]
    assert {models[name]["state"] for name in ("echo", "pair")} == {"no_worker"}


def test_model_shows_signature_limits_and_example(gate: Gate) -> None:
    model = gate.client.get("/v1/models/echo").json
    assert [(x["name"], x["datatype"], x["shape"]) for x in model["inputs"]] == [("x", "FP32", [-1, 4])]
    assert [y["name"] for y in model["outputs"]] == ["y"]
    assert (model["version"], model["versions"], model["pools"]) == ("1", ["1"], ["cpu"])
    assert (model["limits"]["timeout_s"], model["example"]) == (30.0, {"x": [0, 1, 2, 3]})
    assert model["description"] == "gives back what it gets"


def test_newest_version_is_shown_unless_another_is_asked_for(gate: Gate) -> None:
    assert gate.client.get("/v1/models/reader").json["version"] == "2"
    assert gate.client.get("/v1/models/reader/versions/1").json["version"] == "1"
    for path in ("reader/versions/3", "nothing", "broken"):
        answer = gate.client.get(f"/v1/models/{path}")
        assert (answer.status_code, answer.json["code"]) == (404, "unknown_model")


def test_workers_say_how_far_a_model_is(gate: Gate) -> None:
    gate.serve("echo", "ready", rows=30, batches=10, compute_ms=60.0, executors=2, device="cpu:0")
    gate.serve("pair", "failed", reason="no such file")
    gate.serve("narrow", "loading")
    models = {model["name"]: model for model in gate.client.get("/v1/models").json["data"]}
    assert {name: models[name]["state"] for name in ("echo", "pair", "narrow", "reader")} == {
        "echo": "ready", "pair": "failed", "narrow": "loading", "reader": "no_worker",
    }  # fmt: skip
    assert models["pair"]["reason"] == "no such file"
    assert models["echo"]["statistics"] == {
        "rows": 30, "batches": 10, "mean_batch": 3.0, "compute_ms": 60.0, "row_ms": 2.0,
    }  # fmt: skip
    (worker,) = models["echo"]["workers"]
    assert (worker["pool"], worker["state"], worker["executors"], worker["device"]) == ("cpu", "ready", 2, "cpu:0")
