"""What the farm says of its own work, from the executor to GET /v1/models."""

from typing import Any

from penstock import Submission

from tests.farm.harness import Farm, submit_all

ECHO: Submission = {"model": "echo", "inputs": {"x": [float(n) for n in range(16)]}}


def test_every_batch_is_counted_once_and_stays_counted_when_its_worker_ends(farm: Farm) -> None:
    with farm.client() as client, farm.http() as http:

        def shown() -> Any:
            return http.get("/v1/models/echo").json()["statistics"]

        before = shown()
        jobs = [client.jobs.wait(job, timeout_s=30) for job in submit_all(client, (ECHO for _ in range(30)))]
        farm.stop("worker-cpu")
        after = shown()
        metrics = http.get("/metrics").text
    assert after["rows"] == before["rows"] + 30
    batches = after["batches"] - before["batches"]
    counts = {name: stage["count"] - before["stages"][name]["count"] for name, stage in after["stages"].items()}
    assert counts == {"queue": 30, "decode": batches, "compute": batches, "encode": batches, "commit": batches}
    computed_ms = after["compute_ms"] - before["compute_ms"]
    # Each job of a batch bears the batch's time in the model.
    shares_ms = sum(job.metrics.compute_ms / job.metrics.batch_size for job in jobs)
    assert abs(shares_ms - computed_ms) < 0.01 * 30
    assert f'penstock_model_rows_total{{model="echo",pool="cpu",version="1"}} {float(after["rows"])}' in metrics
