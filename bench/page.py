"""docs/performance.md has sections that results are written into; the results themselves lie in bench/results/."""

import json
from pathlib import Path
from typing import Any

from bench.processes import ROOT

PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "bench" / "results"


class NoSection(Exception):
    """The page has no place for this."""


def put(section: str, text: str, page: Path = PAGE) -> None:
    """Write `text` between the section's two lines; raises NoSection where the page lacks one of them."""
    begin, end = marks(section)
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise NoSection(f"{page} needs the lines {begin} and {end}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def marks(section: str) -> tuple[str, str]:
    """The lines that a section stands between."""
    return f"<!-- {section} writes from here -->", f"<!-- to here: {section} -->"


def keep(kind: str, result: dict[str, Any]) -> Path:
    """Write a result to bench/results/, by kind and day; the kind of `make bench` has no name."""
    path = RESULTS / f"{kind}{'-' if kind else ''}{result['when'][:10]}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path


def newest(kind: str) -> dict[str, Any] | None:
    """The last kept result of that kind."""
    pattern = f"{kind}-20*.json" if kind else "20*.json"
    files = sorted(RESULTS.glob(pattern))
    found: dict[str, Any] | None = json.loads(files[-1].read_text()) if files else None
    return found
