"""What is measured, and which way the farm runs a model."""

import pytest

from bench.measuring import choose, spreads
from bench.plan import MODES, Cell, plan
from bench.repository import Way
from bench.workloads import USUAL, WORKLOADS


def test_full_run_measures_every_system_in_every_mode() -> None:
    full = plan()
    assert tuple(workload.name for workload in full.workloads) == USUAL
    cells = full.cells(WORKLOADS["echo"])
    assert len(cells) == len(set(cells))
    for system, modes in MODES.items():
        for mode in modes:
            measured = {cell.clients for cell in cells if (cell.system, cell.mode) == (system, mode)}
            assert measured == ({1} if (system, mode) == ("embedded", "batch") else {1, 16, 64})


def test_burst_of_slow_jobs_is_sent_by_one_client() -> None:
    cells = plan().cells(WORKLOADS["cnn"])
    assert [cell for cell in cells if cell.mode == "batch"] == [
        Cell("penstock", "batch", 1),
        Cell("embedded", "batch", 1),
    ]


def test_only_what_is_asked_for_is_measured() -> None:
    asked = plan(only=["cnn", "echo"], rounds=7)
    assert [workload.name for workload in asked.workloads] == ["echo", "cnn"]
    assert asked.rounds == 7
    assert plan(quick=True).rounds == 1
    with pytest.raises(ValueError, match="no workload 'ehco'; there are echo, minilm"):
        plan(only=["ehco"])


@pytest.mark.parametrize("cores", [1, 2, 3, 4, 8, 13])
def test_ways_in_process_never_ask_for_more_than_the_cores(cores: int) -> None:
    ways = spreads(cores)
    assert (cores, 1) in ways
    assert (1, cores) in ways
    assert all(instances * threads <= cores for instances, threads in ways)


def test_farm_runs_the_way_of_most_rows_among_those_close_to_the_best() -> None:
    searched = [
        {"instances": 2, "threads": 1, "batch": 1, "rows_per_s": 100.0},
        {"instances": 2, "threads": 1, "batch": 4, "rows_per_s": 98.0},
        {"instances": 2, "threads": 1, "batch": 8, "rows_per_s": 90.0},
        {"instances": 1, "threads": 2, "batch": 2, "rows_per_s": 99.0},
    ]
    assert choose(searched) == (Way(2, 1, 1), Way(2, 1, 4))
