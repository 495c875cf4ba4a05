"""Pipelines: one job to the outside, whatever happens to its steps; which share batches with everybody else's."""

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from penstock import Job, Penstock, Submission

from storage.job import Status
from storage.jobs import Outcome, Verdict, Want
from tests.farm.harness import Farm, submit_all


@pytest.fixture
def client(farm: Farm) -> Iterator[Penstock]:
    with farm.client() as client:
        yield client


def phrases(client: Penstock, text: str, aside: str = "aside", **options: object) -> Job:
    return client.jobs.submit("phrases", {"text": text, "aside": aside}, **options)  # type: ignore[arg-type]


def steps_of(farm: Farm, job: Job) -> dict[str, dict[str, object]]:
    with farm.http() as http:
        steps = http.get(f"/v1/jobs/{job.id}").json()["metrics"]["steps"]
    return {step["name"]: step for step in steps}


def running(client: Penstock, job: Job) -> bool:
    return client.jobs.get(job).status == "running"


def test_steps_run_in_series_side_by_side_for_each_item_and_where_a_condition_holds(
    farm: Farm, client: Penstock
) -> None:
    job = client.jobs.wait(phrases(client, "one;skip two;three"), timeout_s=30)
    assert job.outputs == {"did": [["one", "skipped", "three"]], "last": ["aside"]}
    assert (job.status, job.attempt) == ("succeeded", 1)
    steps = steps_of(farm, job)
    assert {name: (step["model"], step["version"], step["items"]) for name, step in steps.items()} == {
        "split": ("words", "1", 1),
        "each": ("trouble", "1", 2),
        "aside": ("trouble", "1", 1),
        "last": ("trouble", "1", 1),
    }
    assert all(step["compute_ms"] > 0 for step in steps.values())  # type: ignore[operator]


def test_rows_of_a_job_keep_their_order(client: Penstock) -> None:
    job = client.jobs.submit("phrases", {"text": ["a;b", "c;d", "e;skip"], "aside": ["x", "y", "z"]})
    outputs = client.jobs.wait(job, timeout_s=30).outputs
    assert outputs == {"did": [["a", "b"], ["c", "d"], ["e", "skipped"]], "last": ["x", "y", "z"]}


def test_steps_of_several_jobs_share_a_batch_with_a_plain_job(farm: Farm, client: Penstock, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    first = client.jobs.submit("trouble", {"do": f"wait {gate}"})
    farm.until(lambda: running(client, first), "the model is busy")
    jobs = [phrases(client, f"company;word{n}", f"aside{n}") for n in range(2)]
    farm.until(lambda: all(running(client, job) for job in jobs), "the pipelines run")
    plain = client.jobs.submit("trouble", {"do": "plain"})
    farm.until(lambda: client.jobs.get(plain).status == "queued", "the plain job waits")
    gate.touch()
    done = [client.jobs.wait(job, timeout_s=30) for job in jobs]
    assert client.jobs.wait(plain, timeout_s=30).outputs == {"did": ["plain"]}
    together = [done[n].outputs["did"][0][0].split("|") for n in range(2)]  # type: ignore[index]
    assert any({"word0", "word1", "plain"} <= set(batch) for batch in together), together


def test_many_pipelines_at_once_get_their_own_outputs(client: Penstock) -> None:
    submissions: list[Submission] = [
        {"model": "phrases", "inputs": {"text": f"a{n};skip;b{n}", "aside": f"c{n}"}} for n in range(60)
    ]
    jobs = submit_all(client, submissions)
    done = [client.jobs.wait(job, timeout_s=60) for job in jobs]
    assert [job.outputs for job in done] == [
        {"did": [[f"a{n}", "skipped", f"b{n}"]], "last": [f"c{n}"]} for n in range(60)
    ]


def test_large_tensors_between_steps_and_large_outputs_arrive(client: Penstock) -> None:
    job = client.jobs.wait(phrases(client, "big;big", "big"), timeout_s=30)
    big = "x" * 100_000
    assert client.jobs.result(job) == {"did": [[big, big]], "last": [big]}


def test_failing_step_fails_its_job_alone_and_is_named(farm: Farm, client: Penstock) -> None:
    bad, good = phrases(client, "fine;invalid"), phrases(client, "fine")
    failed = client.jobs.wait(bad, timeout_s=30)
    assert (failed.status, failed.attempt) == ("failed", 1)
    assert failed.error is not None
    assert (failed.error.code, failed.error.detail) == ("invalid_input", "step 'each': no such thing")
    assert client.jobs.wait(good, timeout_s=30).status == "succeeded"
    assert "each" in steps_of(farm, failed)


def test_failed_attempt_of_a_step_is_the_jobs_and_is_made_again(client: Penstock, tmp_path: Path) -> None:
    # Nothing else is in its batch: of several, each would be run again alone at once.
    job = phrases(client, "skip", f"once {tmp_path / 'mark'}")
    done = client.jobs.wait(job, timeout_s=30)
    assert (done.status, done.attempt) == ("succeeded", 2)
    assert done.outputs == {"did": [["skipped"]], "last": [f"once {tmp_path / 'mark'}"]}


def test_canceled_pipeline_starts_no_further_step(farm: Farm, client: Penstock, tmp_path: Path) -> None:
    gate, began = tmp_path / "gate", tmp_path / "gate.began"
    job = phrases(client, "word", f"hold {gate}")
    farm.until(began.exists, "a step runs")
    client.jobs.cancel(job)
    # Before the step that runs is through.
    assert client.jobs.wait(job, timeout_s=30).status == "canceled"
    gate.touch()
    after = client.jobs.wait(client.jobs.submit("trouble", {"do": "after"}), timeout_s=30)
    assert after.status == "succeeded"
    # The step that would have come next holds as well.
    assert began.read_text() == "x"
    assert client.jobs.get(job).status == "canceled"


def test_pipeline_that_does_not_start_in_time_expires_and_runs_no_step(
    farm: Farm, client: Penstock, tmp_path: Path
) -> None:
    gate, book = tmp_path / "gate", tmp_path / "book"
    # As many rows as may be under way at once.
    busy = client.jobs.submit("phrases", {"text": ["a"] * 8, "aside": [f"wait {gate}"] * 8})
    farm.until(lambda: running(client, busy), "it runs")
    late = client.jobs.wait(phrases(client, f"count {book}", queue_ttl_s=0.3), timeout_s=30)
    assert (late.status, running(client, busy)) == ("expired", True)
    gate.touch()
    assert client.jobs.wait(busy, timeout_s=30).status == "succeeded"
    assert not book.exists()


def test_pipeline_taken_over_elsewhere_runs_no_further_step_and_has_one_outcome(
    farm: Farm, client: Penstock, tmp_path: Path
) -> None:
    gate, began = tmp_path / "gate", tmp_path / "gate.began"
    job = phrases(client, "a", f"hold {gate}")
    farm.until(began.exists, "a step runs")
    before = farm.jobs.counters().get("succeeded", 0)
    # As another worker does that gets the message while this one is cut off from the broker.
    record = farm.jobs.get(job.id)
    assert record is not None
    want = Want(job.id, record.queue, redelivered=True, holder="elsewhere/1")
    (claim,) = farm.jobs.claim_all([want], device="cpu:0", losses_allowed=3, lost_error=b"{}")
    assert (claim.verdict, claim.token) == (Verdict.RUN, 2)
    gate.touch()
    after = client.jobs.wait(client.jobs.submit("trouble", {"do": "after"}), timeout_s=30)
    assert (after.status, began.read_text()) == ("succeeded", "x")
    assert running(client, job)
    theirs = b'{"did": [["elsewhere"]], "last": ["elsewhere"]}'
    outcome = Outcome(id=job.id, queue=record.queue, token=2, status=Status.SUCCEEDED, outputs=theirs)
    assert farm.jobs.finish_all([outcome]) == ["succeeded"]
    assert client.jobs.wait(job, timeout_s=30).outputs == {"did": [["elsewhere"]], "last": ["elsewhere"]}
    # That other job's, and this one's.
    assert farm.jobs.counters()["succeeded"] == before + 2


def test_timeout_holds_for_the_whole_and_names_the_step(client: Penstock, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    done = client.jobs.wait(phrases(client, "a", f"wait {gate}", timeout_s=1), timeout_s=30)
    gate.touch()
    assert done.error is not None
    assert (done.status, done.error.code) == ("failed", "timed_out")
    assert done.error.detail.startswith("the pipeline did not end within 1 s; it was in step aside")


def test_step_that_kills_its_executor_fails_its_job_alone(client: Penstock) -> None:
    jobs = [phrases(client, "fine", "die"), *(phrases(client, f"w{n}") for n in range(4))]
    done = [client.jobs.wait(job, timeout_s=60) for job in jobs]
    assert [job.status for job in done] == ["failed", *["succeeded"] * 4]
    assert done[0].error is not None
    assert done[0].error.code == "worker_lost"
    assert "step 'aside'" in done[0].error.detail


def test_killed_worker_gives_its_pipeline_back_and_it_has_one_outcome(
    farm: Farm, client: Penstock, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    job = phrases(client, "a;b", f"hold {gate}")
    farm.until((tmp_path / "gate.began").exists, "a step runs")
    before = farm.jobs.counters()
    farm.kill("worker-cpu")
    gate.touch()
    farm.start("worker-cpu")
    done = client.jobs.wait(job, timeout_s=60)
    assert done.outputs == {"did": [["a", "b"]], "last": [f"hold {gate}"]}
    assert (done.attempt, done.worker_losses) == (2, 1)
    assert farm.jobs.counters().get("succeeded", 0) == before.get("succeeded", 0) + 1


def test_pipelines_own_process_may_die_and_no_job_is_lost(farm: Farm, client: Penstock, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    jobs = [phrases(client, f"w{n}", f"wait {gate}") for n in range(3)]
    farm.until(lambda: all(running(client, job) for job in jobs), "they run")
    worker = psutil.Process(farm.processes["worker-cpu"].pid)
    (process,) = [one for one in worker.children() if "workers.pipeline_process" in one.cmdline()]
    process.send_signal(signal.SIGKILL)
    gate.touch()
    done = [client.jobs.wait(job, timeout_s=60) for job in jobs]
    assert [job.outputs and job.outputs["did"] for job in done] == [[[f"w{n}"]] for n in range(3)]
    # Uncharged: it was no worker, and no model of theirs, that died.
    assert {(job.status, job.attempt) for job in done} == {("succeeded", 1)}


def test_stopped_worker_gives_its_pipelines_back(farm: Farm, client: Penstock, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job = phrases(client, "a", f"wait {gate}")
    farm.until(lambda: running(client, job), "it runs")
    heard = len(farm.log("worker-cpu"))
    farm.processes["worker-cpu"].terminate()
    farm.until(lambda: "worker stops" in farm.log("worker-cpu")[heard:], "the worker has heard")
    gate.touch()
    assert farm.stop("worker-cpu") == 0
    assert client.jobs.get(job).status == "queued"
    farm.start("worker-cpu")
    done = client.jobs.wait(job, timeout_s=60)
    assert (done.status, done.worker_losses) == ("succeeded", 0)
