"""Faults are found by name, a clock is shifted while its process runs, and a disk is full until it is emptied."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos import tmpfs
from tests.chaos.farm import Clock, Way
from tests.chaos.faults import FAULTS, deck, known
from tests.services.fixtures import unavailable

CLOCK = str(Path(__file__).with_name("clock"))
#: Prints the time whenever it reads a line.
TELL = "import sys, time\nfor line in sys.stdin: print(time.time(), time.time_ns(), flush=True)"


def test_every_fault_can_be_made_somewhere() -> None:
    made = {name for way in Way for name in known("", way)}
    assert made == set(FAULTS)


def test_unknown_fault_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no such fault: flood; there are kill-gateway"):
        known("flood", Way.SERVERS)


def test_fault_that_needs_a_network_is_none_of_the_embedded_farm() -> None:
    with pytest.raises(ValueError, match="no such fault: cut"):
        known("cut", Way.EMBEDDED)


def test_fault_may_be_bound_to_a_link() -> None:
    assert list(known("cut@gateway/redis", Way.SERVERS)) == ["cut@gateway/redis"]


def test_seed_decides_the_order_in_which_each_fault_comes_once() -> None:
    faults = known("", Way.SERVERS)
    first = deck(random.Random(1), faults)
    assert first == deck(random.Random(1), faults) != deck(random.Random(2), faults)
    assert sorted(first) == sorted(faults)


def test_clock_of_a_running_process_is_shifted_and_set_right_again(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    env = os.environ | {"PYTHONPATH": CLOCK, "CHAOS_CLOCK": str(clock.path)}
    with subprocess.Popen(
        [sys.executable, "-c", TELL], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def told() -> list[float]:
            assert process.stdin is not None
            assert process.stdout is not None
            print(file=process.stdin, flush=True)
            seconds, nanoseconds = process.stdout.readline().split()
            return [float(seconds), int(nanoseconds) / 1e9]

        right = told()
        clock.shift(-600)
        shifted = told()
        clock.shift(0)
        again = told()
        process.kill()
    assert all(-601 < after - before < -500 for before, after in zip(right, shifted, strict=True))
    assert all(after >= before for before, after in zip(right, again, strict=True))


def test_full_disk_takes_no_more_until_it_is_emptied(tmp_path: Path) -> None:
    with tmpfs.mounted(tmp_path / "disk") as done:
        if not done:
            unavailable("mounting needs root")
        file = tmp_path / "disk" / "file"
        file.write_bytes(b"x" * 100_000)
        tmpfs.fill(tmp_path / "disk")
        with pytest.raises(OSError, match="No space left"):
            file.with_name("other").write_bytes(b"x" * 100_000)
        tmpfs.empty(tmp_path / "disk")
        file.with_name("other").write_bytes(b"x" * 100_000)
