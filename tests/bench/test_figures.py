"""From what was timed to a figure."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.answers import Check
from bench.clients import Answer, LoadError
from bench.quantiles import quantile
from bench.timing import Log


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1.0))
def test_quantile_is_the_least_value_that_the_share_does_not_exceed(values: list[float], share: float) -> None:
    ordered = sorted(values)
    found = quantile(ordered, share)
    needed = share * len(ordered)
    assert sum(value <= found for value in ordered) >= needed
    assert sum(value < found for value in ordered) < needed


def test_only_jobs_that_end_within_the_window_make_the_rate() -> None:
    clock = Clock()
    log = Log(ramp_s=1.0, seconds=2.0, clock=clock)
    for end_s, began_s in ((0.5, 0.0), (1.0, 0.4), (2.9, 2.8), (3.0, 2.9), (3.5, 2.9)):
        clock.now = end_s
        log.done(began_s, looks=2)
    figures = log.figures()
    # Two of five ended from 1 s to 3 s; they took 0.6 s and 0.1 s.
    assert figures["jobs_per_s"] == 1.0
    assert figures["looks_per_job"] == 2.0
    assert figures["p50_ms"] == pytest.approx(100)
    assert figures["p99_ms"] == pytest.approx(600)
    assert log.jobs == 5


def test_no_job_begins_after_the_window() -> None:
    clock = Clock()
    log = Log(ramp_s=1.0, seconds=2.0, clock=clock)
    clock.now = 2.99
    assert log.open()
    clock.now = 3.0
    assert not log.open()


def test_burst_is_timed_until_accepted_and_until_done() -> None:
    clock = Clock()
    log = Log(ramp_s=1.0, seconds=2.0, clock=clock)
    for accepted_s in (0.5, 1.0):
        clock.now = accepted_s
        log.accepted(accepted_s - 0.25, 100)
    for done_s in (3.0, 4.0):
        clock.now = done_s
        log.drained(100)
    figures = log.figures()
    assert (figures["accepted_per_s"], figures["jobs_per_s"], figures["p50_ms"]) == (200.0, 50.0, 250.0)


def test_nothing_timed_gives_no_figure() -> None:
    assert Log(ramp_s=0.0, seconds=1.0).figures() == {}


def outputs(*numbers: float) -> Answer:
    text = ",".join("NaN" if math.isnan(number) else str(number) for number in numbers)
    return Answer(200, b'{"id":"j","outputs":{"y":[[%s]]},"error":null}' % text.encode())


def test_answer_within_the_tolerance_is_right() -> None:
    check = Check("y", [[1.0, 2.0]], tolerance=0.01)
    check.penstock(0, outputs(1.0, 2.0))
    check.penstock(0, outputs(1.005, 2.0))
    check.plain(0, Answer(200, b'{"result": [[1.0, 2.005]], "status":"SUCCESS"}'))


@pytest.mark.parametrize("numbers", [(1.0, 2.1), (1.0,), (1.0, 2.0, 3.0), (1.0, math.nan), (2.0, 1.0)], ids=str)
def test_other_numbers_are_wrong_even_after_right_ones(numbers: tuple[float, ...]) -> None:
    check = Check("y", [[1.0, 2.0]], tolerance=0.01)
    check.penstock(0, outputs(1.0, 2.0))
    with pytest.raises(LoadError):
        check.penstock(0, outputs(*numbers))


def test_answer_to_another_input_is_wrong() -> None:
    check = Check("y", [[1.0], [2.0]], tolerance=0.01)
    check.penstock(0, outputs(1.0))
    check.penstock(1, outputs(2.0))
    with pytest.raises(LoadError):
        check.penstock(1, outputs(1.0))


def test_answer_without_outputs_is_wrong() -> None:
    with pytest.raises(LoadError, match='no "outputs":'):
        Check("y", [[1.0]], tolerance=0.0).penstock(0, Answer(200, b'{"status":"failed"}'))
