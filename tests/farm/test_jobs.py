"""A job's way through the whole farm, embedded and on RabbitMQ, Redis and S3, by the real client."""

import io
from pathlib import Path

import pytest
from penstock import InvalidJobInput, ModelError, TimedOut, WorkerLost
from PIL import Image

from tests.farm.harness import Farm, submit_all

X = [float(n) for n in range(16)]


def test_job_comes_back_with_the_models_answer(farm: Farm) -> None:
    with farm.client() as client:
        job = client.jobs.submit("echo", {"x": [X, X]}, metadata={"order": "A-17"})
        done = client.jobs.wait(job, timeout_s=20)
    assert done.status == "succeeded"
    assert done.outputs == {"y": [X, X]}
    assert done.metadata == {"order": "A-17"}
    assert (done.attempt, done.version, done.metrics.device) == (1, "1", "cpu:0")


def test_submit_that_prefers_to_wait_is_answered_with_the_result(farm: Farm) -> None:
    with farm.http() as http:
        answer = http.post("/v1/jobs", json={"model": "echo", "inputs": {"x": X}}, headers={"Prefer": "wait=10"})
    assert answer.status_code == 200
    assert answer.headers["Preference-Applied"] == "wait=10"
    assert answer.json()["outputs"] == {"y": [X]}


def test_jobs_that_wait_together_run_as_one_batch(farm: Farm, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with farm.client() as client:
        first = client.jobs.submit("trouble", {"do": f"wait {gate}"})
        farm.until(lambda: client.jobs.get(first).status == "running", "the first runs")
        rest = submit_all(client, [{"model": "trouble", "inputs": {"do": f"w{n}"}} for n in range(6)])
        gate.touch()
        done = [client.jobs.wait(job, timeout_s=20) for job in rest]
    assert [job.outputs for job in done] == [{"did": [f"w{n}"]} for n in range(6)]
    assert max(job.metrics.batch_size for job in done) > 1


@pytest.mark.parametrize(
    ("word", "code"),
    [("raise", "model_error"), ("shape", "model_error"), ("invalid", "invalid_input"), ("die", "worker_lost"),
     ("hang", "timed_out")],
)  # fmt: skip
def test_job_that_goes_wrong_fails_with_its_code_and_its_neighbours_succeed(
    farm: Farm, tmp_path: Path, word: str, code: str
) -> None:
    gate = tmp_path / "gate"
    with farm.client() as client:
        first = client.jobs.submit("trouble", {"do": f"wait {gate}"})
        farm.until(lambda: client.jobs.get(first).status == "running", "the first runs")
        words = ["a", word, "b", "c"]
        timeout_s = 2 if word == "hang" else 20
        jobs = submit_all(
            client,
            ({"model": "trouble", "inputs": {"do": one}, "max_attempts": 1, "timeout_s": timeout_s} for one in words),
        )
        gate.touch()
        done = [client.jobs.wait(job, timeout_s=60) for job in jobs]
    assert [job.status for job in done] == ["succeeded", "failed", "succeeded", "succeeded"]
    assert done[1].error is not None
    assert done[1].error.code == code
    assert "Traceback" not in str(done[1].error)
    assert [job.outputs for job in done if job.status == "succeeded"] == [{"did": [w]} for w in "abc"]


def test_failure_is_raised_by_the_client_as_its_own_class(farm: Farm) -> None:
    with farm.client() as client:
        for word, expected in (("raise", ModelError), ("invalid", InvalidJobInput), ("die", WorkerLost)):
            job = client.jobs.submit("trouble", {"do": word}, max_attempts=1)
            client.jobs.wait(job, timeout_s=60)
            with pytest.raises(expected):
                client.jobs.result(job)
        job = client.jobs.submit("trouble", {"do": "hang"}, timeout_s=0.5)
        client.jobs.wait(job, timeout_s=60)
        with pytest.raises(TimedOut):
            client.jobs.result(job)


def test_model_error_is_tried_again_later_and_may_succeed(farm: Farm, tmp_path: Path) -> None:
    with farm.client() as client:
        job = client.jobs.submit("trouble", {"do": f"once {tmp_path / 'mark'}"}, max_attempts=2)
        done = client.jobs.wait(job, timeout_s=30)
    assert (done.status, done.attempt) == ("succeeded", 2)


def test_failed_job_runs_again_under_its_id_when_asked(farm: Farm, tmp_path: Path) -> None:
    with farm.client() as client:
        job = client.jobs.submit("trouble", {"do": f"once {tmp_path / 'mark'}"}, max_attempts=1)
        assert client.jobs.wait(job, timeout_s=30).status == "failed"
        assert client.jobs.retry(job).status == "queued"
        assert client.jobs.wait(job, timeout_s=30).status == "succeeded"


def test_large_input_and_output_travel_through_the_object_store(farm: Farm) -> None:
    rows = [X] * 2000  # some 170 kB of JSON each way
    with farm.client() as client:
        job = client.jobs.submit("echo", {"x": rows})
        done = client.jobs.wait(job, timeout_s=30)
        assert done.status == "succeeded"
        assert done.outputs is None
        assert client.jobs.result(job) == {"y": rows}
        client.jobs.delete(job)
    left = [path for path in (farm.folder / "objects").rglob("*") if path.is_file()] if farm.settings.embedded else []
    assert not [path for path in left if job.id in str(path)]


def test_picture_is_sent_as_a_file_and_a_broken_one_fails_alone(farm: Farm) -> None:
    png = io.BytesIO()
    Image.new("RGB", (64, 48)).save(png, "PNG")
    with farm.http() as http:
        good = http.post("/v1/jobs", data={"model": "picture"}, files={"image": ("page.png", png.getvalue())})
        bad = http.post("/v1/jobs", data={"model": "picture"}, files={"image": ("page.png", png.getvalue()[:40])})
        assert (good.status_code, bad.status_code) == (202, 202), good.text + bad.text
        good, bad = (http.get(f"/v1/jobs/{one.json()['id']}?wait=20").json() for one in (good, bad))
    assert good["outputs"] == {"size": [[64, 48]]}
    assert (bad["status"], bad["error"]["code"]) == ("failed", "invalid_input")
    assert "cannot be read" in bad["error"]["detail"]


def test_uploaded_object_is_an_input_and_belongs_to_its_tenant(farm: Farm, tmp_path: Path) -> None:
    picture = tmp_path / "big.png"
    Image.effect_noise((400, 300), 90).save(picture)
    with farm.client() as client:
        stored = client.objects.upload(picture)
        assert stored.bytes == picture.stat().st_size
        outputs = client.run("picture", {"image": {"object": stored.id}})
        client.objects.download(stored.id, tmp_path / "back.png")
    assert outputs == {"size": [[400, 300]]}
    assert (tmp_path / "back.png").read_bytes() == picture.read_bytes()


def test_queued_job_is_canceled_at_once_and_never_runs(farm: Farm, tmp_path: Path) -> None:
    gate, book = tmp_path / "gate", tmp_path / "book"
    with farm.client() as client:
        first = client.jobs.submit("trouble", {"do": f"wait {gate}"})
        farm.until(lambda: client.jobs.get(first).status == "running", "the first runs")
        queued = client.jobs.submit("trouble", {"do": f"count {book}"})
        assert client.jobs.cancel(queued).status == "canceled"
        gate.touch()
        assert client.jobs.wait(first, timeout_s=20).status == "succeeded"
        assert client.run("trouble", {"do": "after"}) == {"did": ["after"]}
        assert client.jobs.get(queued).status == "canceled"
    assert not book.exists()


def test_cancel_of_a_running_job_is_never_followed_by_success(farm: Farm, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with farm.client() as client:
        job = client.jobs.submit("trouble", {"do": f"wait {gate}"})
        farm.until(lambda: client.jobs.get(job).status == "running", "it runs")
        client.jobs.cancel(job)
        gate.touch()
        assert client.jobs.wait(job, timeout_s=20).status == "canceled"


def test_job_that_cannot_start_in_time_expires(farm: Farm, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with farm.client() as client:
        first = client.jobs.submit("trouble", {"do": f"wait {gate}"})
        farm.until(lambda: client.jobs.get(first).status == "running", "the first runs")
        late = client.jobs.submit("trouble", {"do": "late"}, queue_ttl_s=0.2)
        assert client.jobs.wait(late, timeout_s=20).status == "expired"
        gate.touch()
        client.jobs.wait(first, timeout_s=20)


def test_result_is_gone_after_its_time(farm: Farm) -> None:
    with farm.client() as client, farm.http() as http:
        job = client.jobs.submit("echo", {"x": X}, result_ttl_s=1)
        client.jobs.wait(job, timeout_s=20)
        farm.until(lambda: http.get(f"/v1/jobs/{job.id}/result").status_code == 410, "the result has expired")


def test_broken_manifest_is_named_and_the_other_models_serve(farm: Farm) -> None:
    with farm.http() as http:
        models = {model["name"]: model for model in http.get("/v1/models").json()["data"]}
    assert "FLOAT" in str(models["broken"])
    assert models["echo"]["state"] == "ready"
    assert "broken" in farm.log("worker-cpu")
