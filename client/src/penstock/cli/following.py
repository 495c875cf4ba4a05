"""How a scoring is watched: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable
from types import TracebackType

import click
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from penstock.cli import screen
from penstock.client import Penstock
from penstock.scoring import Scoring

#: Where there is no terminal: a line at each change of state, and else after so many seconds.
LINE_S = 10.0


class Bar:
    """Told of a scoring, draws how far it is."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rows]}"), TimeElapsedColumn(),
        )  # fmt: skip
        self._progress = Progress(*columns, console=screen.console(stderr=True), transient=True)
        self._task: TaskID | None = None

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, scoring: Scoring) -> None:
        total, text = scoring.rows.total, told(scoring)
        if self._task is None:
            self._task = self._progress.add_task(scoring.status, total=total, rows=text)
        self._progress.update(
            self._task, description=scoring.status, total=total, completed=scoring.rows.done, rows=text
        )


class Lines:
    """Told of a scoring, says how far it is, but not too often."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._status, self._at_s = "", 0.0

    def __enter__(self) -> "Lines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __call__(self, scoring: Scoring) -> None:
        now_s = self._clock()
        if scoring.status != self._status or now_s - self._at_s >= LINE_S:
            self._status, self._at_s = scoring.status, now_s
            click.echo(" ".join(word for word in (scoring.id, scoring.status, told(scoring)) if word), err=True)


def follow(client: Penstock, scoring: Scoring) -> Scoring:
    """The scoring at its end; Ctrl-C leaves it going and says how to come back."""
    try:
        with Bar() if screen.console(stderr=True).is_terminal else Lines() as shown:
            return client.scorings.wait(scoring, shown)
    except KeyboardInterrupt:
        screen.note(f"{scoring.id} goes on; `penstock scorings attach {scoring.id}` comes back to it")
        raise


def told(scoring: Scoring) -> str:
    """`12,000 of 100,000 rows, 5,210/s, 17 s left, 3 failed`, as far as it is known."""
    rows = scoring.rows
    if scoring.waiting_reason and not rows.done:
        return f"waits: {scoring.waiting_reason.replace('_', ' ')}"
    words = [f"{rows.done:,} of {rows.total:,} rows" if rows.total is not None else f"{rows.done:,} rows"]
    if scoring.rate:
        words.append(f"{scoring.rate:,.0f}/s" if scoring.rate >= 10 else f"{scoring.rate:.1f}/s")
    if scoring.eta_s is not None and not scoring.done:
        words.append(f"{span(scoring.eta_s)} left")
    if rows.failed:
        words.append(f"{rows.failed:,} failed")
    return ", ".join(words) if rows.total is not None or rows.done else ""


def span(seconds: float) -> str:
    """`17 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
