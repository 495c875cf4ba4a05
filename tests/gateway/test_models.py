"""The models: manifests, and what the workers say."""

from storage.statistics import Recorder
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
    gate.serve("echo", "ready", executors=2, device="cpu:0")
    gate.serve("pair", "failed", reason="no such file")
    gate.serve("narrow", "loading")
    models = {model["name"]: model for model in gate.client.get("/v1/models").json["data"]}
    assert {name: models[name]["state"] for name in ("echo", "pair", "narrow", "reader")} == {
        "echo": "ready", "pair": "failed", "narrow": "loading", "reader": "no_worker",
    }  # fmt: skip
    assert models["pair"]["reason"] == "no such file"
    (worker,) = models["echo"]["workers"]
    assert (worker["pool"], worker["state"], worker["executors"], worker["device"]) == ("cpu", "ready", 2, "cpu:0")


def test_statistics_show_where_the_time_went(gate: Gate) -> None:
    done = Recorder()
    for ms in (20.0, 24.0, 90.0):
        done.add_batch(rows=4, queue_ms=[1, 2, 3, 4], stages_ms={"decode": 0.1, "compute": ms, "commit": 0.2})
    done.add_restart("oversized")
    gate.serve("echo", figures=done.take())
    gate.workers.leave("w-echo-1")
    statistics = gate.client.get("/v1/models/echo").json["statistics"]
    assert (
        statistics | {"rows": 12, "batches": 3, "mean_batch": 4.0, "compute_ms": 134.0, "row_ms": 11.167} == statistics
    )
    assert statistics["restarts"] == {"died": 0, "hung": 0, "oversized": 1}
    stages = statistics["stages"]
    assert {name: stage["count"] for name, stage in stages.items()} == {
        "queue": 12, "decode": 3, "compute": 3, "encode": 0, "commit": 3,
    }  # fmt: skip
    assert (stages["compute"]["mean_ms"], stages["compute"]["p50_ms"], stages["compute"]["p95_ms"]) == (
        44.667, 21.25, 92.5,
    )  # fmt: skip
    assert stages["encode"]["p50_ms"] is None
    assert sum(stages["queue"]["counts"]) == 12
    assert len(stages["queue"]["counts"]) == len(statistics["bounds_ms"]) + 1


def test_statistics_of_nothing_are_empty(gate: Gate) -> None:
    statistics = gate.client.get("/v1/models/pair").json["statistics"]
    assert (statistics["rows"], statistics["mean_batch"], statistics["row_ms"]) == (0, None, None)
