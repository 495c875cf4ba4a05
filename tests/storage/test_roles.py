"""What processes do to the store of the queue's books, each with no more than its role's permissions."""

from collections.abc import Callable, Iterator

import pytest

from storage import keys, roles
from storage.connection import Client, connect
from storage.deadletters import DeadLetters, Replay
from storage.job import NewJob, Status
from storage.jobs import Due, Held, JobStore, Verdict, Want
from storage.quotas import Quota, Quotas
from storage.refused import Refused
from storage.workers import Workers, WorkerStatus
from tests.services.valkey import Valkey

QUEUE = "cpu.echo.1.low"
As = Callable[[str], Client]


@pytest.fixture
def user(valkey: Valkey, store: Client) -> Iterator[As]:
    """A client of the store with a role's permissions."""
    clients: list[Client] = []

    def user(role: str) -> Client:
        store.execute_command("ACL", "SETUSER", role, "reset", "on", "nopass", *roles.ROLES[role].rules())
        clients.append(connect(valkey.url.replace("unix://", f"unix://{role}:any@")))
        return clients[-1]

    yield user
    for client in clients:
        client.close()
    store.execute_command("ACL", "DELUSER", *roles.ROLES)


def claim(jobs: JobStore, holder: str) -> Verdict:
    (answer,) = jobs.claim_all([Want("job_1", QUEUE, True, holder)], device="cpu:0", losses_allowed=9, lost_error=b"{}")
    return answer.verdict


def test_quotas_are_spent_and_jobs_made_by_a_gateway(user: As) -> None:
    gateway = user("gateway")
    assert Quotas(gateway).spend("acme", Quota(requests_per_s=1), bytes=1) == (0.0, "")
    assert Quotas(gateway).all() == {}
    job = NewJob(id="job_1", tenant="acme", queue=QUEUE, message=b"{}", created_ms=1, start_by_ms=0, result_ttl_s=60)
    assert JobStore(gateway).create_all([(job, 0)], in_flight={"acme": 1})[0].verdict == "created"


def test_losses_are_told_apart_and_what_is_lost_is_found(user: As, store: Client) -> None:
    root = JobStore(store)
    job = NewJob(id="job_1", tenant="acme", queue=QUEUE, message=b"{}", created_ms=1, start_by_ms=0, result_ttl_s=60)
    root.create(job)
    worker, orchestrator = user("worker"), user("orchestrator")
    working, relaying = JobStore(worker), JobStore(orchestrator)
    workers = Workers(worker)
    workers.beat(WorkerStatus(name="w1", pool="cpu", started_ms=1, models=()), now_ms=1)
    assert [claim(working, f"w{number}/1") for number in (1, 2)] == [Verdict.RUN] * 2
    workers.bury("w2")
    assert claim(working, "w3/1") is Verdict.RUN
    (doubt,) = [member.decode() for member in store.zrange(keys.DUE, 0, -1)]
    assert relaying.judge(Due(doubt, 1)) == "interrupted"
    assert relaying.running(0, count=9)[1] == [Held("job_1", "w3/1", root.get_all(["job_1"])[0].started_ms)]  # type: ignore[union-attr]
    assert Workers(orchestrator).known(["w3"]) == set()
    assert relaying.revive(Held("job_1", "w3/1", 1)) == (QUEUE, b"{}")
    relaying.passed(QUEUE)
    relaying.forget_waiting(QUEUE, ["job_0"])
    assert relaying.release_all(["job_1"]) == [(QUEUE, b"{}")]


def test_dead_letters_go_back_and_what_is_no_job_is_noted(user: As, store: Client) -> None:
    root = JobStore(store)
    job = NewJob(id="job_1", tenant="acme", queue=QUEUE, message=b"{}", created_ms=1, start_by_ms=0, result_ttl_s=60)
    root.create(job)
    gateway, worker, orchestrator = user("gateway"), user("worker"), user("orchestrator")
    relaying = JobStore(orchestrator)
    made = relaying.get("job_1")
    assert made is not None
    assert relaying.fail(made, b"{}") is Status.FAILED
    replay = Replay(id="rpl_1", tenant="acme", wanted=b"{}", rate=0, created_ms=1)
    DeadLetters(gateway, JobStore(gateway)).begin(replay)
    letters = DeadLetters(orchestrator, relaying)
    assert letters.replay("rpl_1") == replay
    assert Quotas(orchestrator).get("acme") == Quota()
    assert relaying.retry(made, start_by_ms=0, replay=keys.replay("rpl_1"), in_flight=3) == "failed"
    letters.end("rpl_1", "completed")
    for client in (worker, orchestrator):
        Refused(client).note(b"x", queue=QUEUE, reason="no job")
    assert len(Refused(gateway).newest(9)) == 1
