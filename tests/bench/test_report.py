"""From a result to the page."""

from pathlib import Path
from typing import Any

import pytest

from bench import gpu_table, page, plot, report, targets
from bench.summaries import Measured, Spread

MACHINE = {"processor": "a processor", "cores": "2", "memory": "24 GiB", "system": "Linux"}


def cell(round: int, system: str, mode: str, clients: int, rate: float, **more: Any) -> dict[str, Any]:
    return {
        "round": round, "system": system, "mode": mode, "clients": clients, "jobs_per_s": rate,
        "p50_ms": 1000 * clients / rate, "p99_ms": 2000 * clients / rate, "looks_per_job": 1.0, "all_jobs": 100,
        "load_cpu_s": 0.1, "load_cpu_share": 0.05, "load_rss_mb": 20.0, "others_cpu_share": 0.01,
        "cpu_ms": {"gateway": 0.5, "worker": 0.1, "load": 0.1, "redis": 0.2},
        "rss_mb": {"gateway": 80.0, "worker": 60.0},
        **more,
    }  # fmt: skip


def ceiling(round: int, kind: str, rate: float) -> dict[str, Any]:
    return {
        "round": round, "kind": kind, "instances": 2, "threads": 1, "batch": 8, "rows_per_s": rate,
        "p50_ms": 1000 / rate, "p99_ms": 2000 / rate, "cpu_ms_per_row": 2000 / rate, "systems_cpu_share": 0.02,
    }  # fmt: skip


def part(*, drift: tuple[float, ...] = (1.0, 0.5, 2.0)) -> dict[str, Any]:
    """Rounds in which the machine is as fast as `drift` says."""
    cells, ceilings = [], []
    for number, speed in enumerate(drift, 1):
        ceilings += [ceiling(number, "best", 2000 * speed), ceiling(number, "alone", 1000 * speed)]
        cells += [
            cell(number, "plain", "plain", 64, 400 * speed, cpu_ms={"web": 2.0, "worker": 1.0, "load": 0.1}),
            cell(number, "penstock", "wait", 1, 200 * speed),
            cell(number, "penstock", "wait", 64, 1700 * speed),
            cell(number, "penstock", "poll", 64, 1600 * speed),
            cell(number, "penstock", "batch", 64, 1800 * speed, accepted_per_s=7000 * speed),
        ]
    way = {"instances": 2, "threads": 1, "batch": 8}
    return {"seconds": 2.5, "best": way, "farm": way, "ceilings": ceilings, "cells": cells}


def result() -> dict[str, Any]:
    return {
        "when": "2026-01-02T03:04:05+00:00", "command": "make bench", "load_before": 0.1, "rounds": 3,
        "machine": MACHINE, "versions": {"Python": "3.11"}, "import_s": [0.3, 0.4, 0.5],
        "workloads": {"echo": part()},
    }  # fmt: skip


def test_ratios_are_taken_within_each_round() -> None:
    # given a machine that is half or twice as fast from round to round
    measured = Measured("echo", part())
    # then a ratio does not show it, while a rate does
    assert measured.of_ceiling(("penstock", "poll", 64)) == Spread(0.8, 0.8, 0.8)
    assert targets.to_plain(measured, "penstock") == Spread(4.0, 4.0, 4.0)
    assert targets.rate("poll")(measured, "penstock") == Spread(1600, 800, 3200)


def test_added_latency_is_over_the_model_alone_in_the_same_round() -> None:
    found = targets.added_ms(Measured("echo", part(drift=(1.0,))), "penstock")
    assert found == pytest.approx((5.0 - 1.0,) * 3)


def test_targets_say_met_missed_or_nothing() -> None:
    lines = {line.what: line for line in targets.lines({"echo": Measured("echo", part())})}
    rate = lines["echo: `jobs:batch`, jobs/s accepted"]
    assert (rate.target, rate.met("penstock"), rate.met("embedded")) == ("≥ 6,000", True, None)
    slower = {line.what: line for line in targets.lines({"echo": Measured("echo", part(drift=(0.5,)))})}
    assert slower["echo: `jobs:batch`, jobs/s accepted"].met("penstock") is False
    assert lines["echo: worker's main process, submit + long poll, 64 clients, CPU ms a job"].met("penstock") is True


def test_tables_show_median_spread_and_ratio() -> None:
    text = report.text(result())
    assert "| 64 | Penstock, submit + long poll | 1,600 (800–3,200) | 4.00 | 0.80 |" in text
    assert "accepted 7,000 (3,500–14,000)" in text
    assert "Importing the gateway: 0.40 s (0.30–0.50, fresh interpreter)." in text
    assert "| echo | 2 × 1 × 8 | 2,000 (1,000–4,000) |" in text


def test_plain_app_s_web_tier_stands_in_the_gateway_s_column() -> None:
    (row,) = [row for row in Measured("echo", part()).summaries() if row.system == "plain"]
    assert row.cpu_ms["gateway"] == 2.0
    assert "web" not in row.cpu_ms


def test_page_keeps_what_stands_around_the_tables(tmp_path: Path) -> None:
    begin, end = page.marks(report.SECTION)
    file = tmp_path / "performance.md"
    file.write_text(f"# Before\n{begin}\nold\n{end}\nafter\n")
    report.write(result(), file)
    written = file.read_text()
    assert written.startswith(f"# Before\n{begin}\n2026-01-02 03:04 UTC, `make bench`: 3 rounds")
    assert written.endswith(f"{end}\nafter\n")
    assert "old" not in written
    assert "](performance-echo.png)" in written
    report.write(result(), file)
    assert file.read_text() == written


def test_page_without_a_place_for_the_tables_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "performance.md"
    file.write_text("# Performance\n")
    with pytest.raises(page.NoSection, match="<!-- make bench writes from here -->"):
        report.write(result(), file)
    assert file.read_text() == "# Performance\n"


def test_each_workload_has_its_picture(tmp_path: Path) -> None:
    (picture,) = plot.draw(result(), tmp_path)
    assert picture.name == "performance-echo.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("section", [report.SECTION, gpu_table.SECTION])
def test_page_of_the_repository_has_a_place_for_each_result(section: str, tmp_path: Path) -> None:
    file = tmp_path / "performance.md"
    file.write_text(page.PAGE.read_text())
    page.put(section, "new", file)
    begin, end = page.marks(section)
    assert f"{begin}\nnew\n{end}" in file.read_text()


def test_kept_result_is_found_again_by_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "RESULTS", tmp_path / "results")
    assert page.newest("gpu") is None
    page.keep("", {"when": "2026-01-02T03:04:05+00:00", "of": "farm"})
    page.keep("gpu", {"when": "2026-01-01T03:04:05+00:00", "of": "gpu"})
    page.keep("", {"when": "2026-01-01T03:04:05+00:00", "of": "older"})
    assert [(page.newest(kind) or {})["of"] for kind in ("", "gpu")] == ["farm", "gpu"]
