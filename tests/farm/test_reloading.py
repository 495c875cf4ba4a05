"""A model whose last executor died, and that cannot be loaded again, holds no jobs back."""

from pathlib import Path

from kombu import Connection

from tasks import topology
from tasks.app import transport_options
from tests.farm.harness import Farm, submit_all


def test_jobs_of_a_model_that_cannot_be_loaded_again_go_back_to_the_queue(farm: Farm, tmp_path: Path) -> None:
    gate, bad = tmp_path / "gate", farm.settings.models / ".unloadable"
    with farm.client() as client:
        first = client.jobs.submit("trouble", {"do": [f"wait {gate}", "die"]})
        farm.until(lambda: client.jobs.get(first).status == "running", "the first runs")
        rest = submit_all(client, ({"model": "trouble", "inputs": {"do": f"w{n}"}} for n in range(5)))
        bad.touch()
        gate.touch()
        with Connection(farm.settings.queue_url, transport_options=transport_options(farm.settings)) as broker:
            farm.until(lambda: topology.depth(broker, "cpu.trouble.1.normal") == 6, "all wait in the queue")
        # A worker that an earlier test has ended may be known for some seconds more.
        failed = [s.reason for w in farm.workers.all() for s in w.models if (s.model, s.state) == ("trouble", "failed")]
        assert ["cannot be loaded now" in reason for reason in failed] == [True]
        bad.unlink()
        done = [client.jobs.wait(job, timeout_s=60) for job in [first, *rest]]
    assert [job.status for job in done] == ["failed", *["succeeded"] * 5]
    assert {job.worker_losses for job in done} == {0}
