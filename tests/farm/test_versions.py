"""Versions come, are promoted, rolled back, drained and unloaded, and fail, while jobs pour in."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from penstock import Model, NotLoaded, Penstock

from tests.farm.harness import Farm
from tests.farm.versions import BROKEN, NAME, Load, publish


@pytest.fixture
def repository(farm: Farm) -> Iterator[Path]:
    """The farm's repository; the model made here is gone again afterwards."""
    folder = Path(farm.env["PENSTOCK_MODELS"])
    yield folder
    shutil.rmtree(folder / NAME)
    farm.redis.hdel("penstock:deployments", NAME)
    farm.until(lambda: not served(farm), "the model has ended")


def served(farm: Farm) -> set[str]:
    """Versions that the worker has, in whatever state."""
    return {status.version for worker in farm.workers.all() for status in worker.models if status.model == NAME}


def states(client: Penstock) -> dict[str, str]:
    return {one.version: one.state for one in client.models.get(NAME).version_states}


def wait_for(farm: Farm, client: Penstock, **wanted: str) -> Model:
    """Until versions, as `v1="ready"`, are in these states."""
    farm.until(
        lambda: (
            NAME in {model.name for model in client.models.list()}
            and {f"v{version}": state for version, state in states(client).items()}.items() >= wanted.items()
        ),
        f"{NAME} is {wanted}",
        60,
    )
    return client.models.get(NAME)


def test_versions_come_and_go_under_load_and_every_job_runs_once(farm: Farm, repository: Path) -> None:
    with farm.client() as client:
        publish(repository, "1")
        wait_for(farm, client, v1="ready")
        with Load(farm) as load:
            farm.until(lambda: load.count("1") > 50, "jobs run in version 1")

            # A newer version takes over; the old one runs what was accepted for it, and ends.
            publish(repository, "2")
            wait_for(farm, client, v1="not_loaded", v2="ready")
            farm.until(lambda: load.count("2") > 50, "jobs run in version 2")
            assert served(farm) == {"2"}

            # One that does not warm up leaves the old one serving, and says why.
            publish(repository, "3", BROKEN)
            broken = wait_for(farm, client, v2="ready", v3="failed")
            assert "the weights do not fit" in (broken.reason or "")
            assert (broken.version, broken.state) == ("2", "ready")
            with pytest.raises(NotLoaded, match="the weights do not fit"):
                client.models.promote(NAME, "3")
            shutil.rmtree(repository / NAME / "3")

            # With `stable` set a newer version waits beside it for its promotion.
            client.models.promote(NAME, "2")
            publish(repository, "4")
            wait_for(farm, client, v2="ready", v4="ready")
            assert load.count("4") == 0
            client.models.split(NAME, {"2": 50, "4": 50})
            farm.until(lambda: load.count("4") > 50, "jobs are split")
            assert client.models.promote(NAME, "4").labels == {"stable": "4"}
            assert client.models.rollback(NAME).labels == {"stable": "2"}
            client.models.promote(NAME, "4")

            # What is unloaded takes no job any more; its executors end.
            client.models.unload(NAME, "2")
            wait_for(farm, client, v2="not_loaded", v4="ready")
            farm.until(lambda: served(farm) == {"4"}, "only version 4 is there")
        assert set(load.check(repository)) == {"1", "2", "4"}


def test_jobs_of_a_version_that_ended_have_it_begun_again(farm: Farm, repository: Path) -> None:
    with farm.client() as client:
        publish(repository, "1")
        wait_for(farm, client, v1="ready")
        job = client.jobs.submit(NAME, {"who": "one"}, wait_s=30)
        publish(repository, "2")
        wait_for(farm, client, v1="not_loaded", v2="ready")
        message = farm.jobs.get(job.id)
        assert message is not None
        late = client.jobs.submit(NAME, {"who": "two"})
        assert late.version == "2"
        # A gateway that did not know yet: the same job again, under another id, straight to version 1's queue.
        again = resubmitted(farm, message.message.replace(job.id.encode(), b"job_late"))
        farm.until(lambda: (done := farm.jobs.get(again)) is not None and done.terminal, "version 1 ran it", 90)
        ended = client.jobs.get(again)
        assert (ended.status, ended.outputs) == ("succeeded", {"said": ["1 one"]})
        wait_for(farm, client, v1="not_loaded", v2="ready")


def resubmitted(farm: Farm, body: bytes) -> str:
    """Record and message of a job, as a gateway makes them."""
    from tasks.message import decode
    from tasks.publisher import Publisher
    from tasks.ticket import Outgoing

    message = decode(body)
    farm.jobs.create(message.record(body, now_ms=farm.jobs.now_ms()))
    publisher = Publisher(farm.settings.queue_url, deadline_s=5, queues=lambda: [message.queue])
    assert publisher.publish([Outgoing(message.queue, message.id, body)]) == [None]
    publisher.close()
    return message.id


def test_rolling_restart_of_every_process_under_load_runs_every_job_once(farm: Farm, repository: Path) -> None:
    with farm.client() as client:
        publish(repository, "1")
        wait_for(farm, client, v1="ready")
        with Load(farm) as load:
            for name in ("gateway", "orchestrator", "worker-cpu"):
                before = load.count("1")
                assert farm.stop(name) == 0
                farm.start(name)
                farm.until(lambda: load.count("1") > before + 50, f"jobs are accepted with {name} anew", 60)  # noqa: B023
        farm.wait_ready()
        load.check(repository)
        wait_for(farm, client, v1="ready")
