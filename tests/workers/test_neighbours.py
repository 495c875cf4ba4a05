"""Workers of one host see each other die, and nobody else."""

import subprocess
import sys
from pathlib import Path

import pytest
import redis

from storage import keys
from storage.workers import Workers, WorkerStatus
from workers.neighbours import bury, died, here

PROC = Path("/proc")


@pytest.fixture
def child() -> "subprocess.Popen[bytes]":
    """A process that waits for its input to end."""
    return subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)


def process_of(pid: int) -> str:
    host, own, _ = here().rsplit("/", 2)
    assert own.isdigit()
    started = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[19]
    return f"{host}/{pid}/{started}"


def test_process_has_died_once_it_is_killed_whether_or_not_anybody_waited_for_it(
    child: "subprocess.Popen[bytes]",
) -> None:
    process = process_of(child.pid)
    assert not died(process)
    child.kill()
    # Without taking its exit status: it is a zombie then.
    while not died(process):
        pass
    child.communicate()
    assert died(process)


def test_number_that_is_used_again_is_another_process() -> None:
    host, pid, started = here().rsplit("/", 2)
    assert not died(here())
    assert died(f"{host}/{pid}/{int(started) + 1}")


def test_nothing_is_known_of_other_hosts_nor_of_what_was_not_told() -> None:
    assert not died("another-host/1/1")
    assert not died("")
    assert not died("///")


def test_dead_neighbour_is_buried_and_the_living_stay(store: "redis.Redis", child: "subprocess.Popen[bytes]") -> None:
    workers = Workers(store)
    processes = {"me": here(), "dead": process_of(child.pid), "far": "another-host/1/1", "old": ""}
    for name, process in processes.items():
        workers.beat(WorkerStatus(name=name, pool="cpu", started_ms=1, models=(), process=process), now_ms=1)
    assert bury(workers, "me") == []
    child.kill()
    child.communicate()
    assert bury(workers, "me") == ["dead"]
    assert sorted(status.name for status in workers.all()) == ["far", "me", "old"]
    assert store.exists(keys.gone("dead")) == 1
