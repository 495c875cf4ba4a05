"""What the benchmark of tables tells of its figures."""

from pathlib import Path

from bench import tables
from bench.scoring_plot import draw
from bench.scoring_report import report

ROUND = {
    "loop_s": 2.0,
    "embedded": {"upload_s": 1.0, "scoring_s": 2.5, "download_s": 0.1},
    "farm": {"upload_s": 1.0, "scoring_s": 4.0, "download_s": 0.1},
    "ray_s": 20.0,
}
LATENCY = {"jobs": 300, "p50_ms": 3.0, "p95_ms": 4.0, "p99_ms": 5.0, "max_ms": 9.0}
RESULT = {
    "when": "2026-01-01T00:00:00+00:00",
    "machine": {"processor": "a processor", "cores": "2"},
    "mlp": {"rows": 1_000_000, "loop": {}, "rounds": [ROUND, {**ROUND, "loop_s": 3.0}, {**ROUND, "loop_s": 1.0}]},
    "interactive": {
        "mlp": {"idle": LATENCY, "scoring": {**LATENCY, "p99_ms": 12.0}, "batch_ms": 10.0, "bound_ms": 20.0}
    },
    "memory": {"100000": {"redis": 10.0, "executor": 200.0}, "5000000": {"redis": 10.5, "executor": 190.0}},
}


def test_ratios_are_of_the_same_round_and_shown_with_their_spread() -> None:
    text = report(RESULT)
    assert "0.80 (0.40–1.20)" in text
    assert "0.50 (0.25–0.75)" in text
    assert "400,000 rows/s" in text
    assert "50,000 rows/s" in text


def test_memory_of_many_rows_stands_beside_that_of_few() -> None:
    assert "| redis | 10 MB | 10 MB | +5% |" in report(RESULT)
    assert "| executor | 200 MB | 190 MB | -5% |" in report(RESULT)


def test_the_bound_of_interactive_jobs_is_shown() -> None:
    assert "| mlp | 3.0 ms | 5.0 ms | 3.0 ms | 12.0 ms | 10.0 ms | 20.0 ms |" in report(RESULT)


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    assert draw(RESULT, tmp_path / "tables.png").stat().st_size > 10_000


def test_a_table_is_the_same_however_often_it_is_made(tmp_path: Path) -> None:
    first, second = (tables.numbers(tmp_path / name, 1000) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
