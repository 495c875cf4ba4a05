"""What is shown while the benchmark runs."""

import sys
from typing import Any


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def cell_line(workload: str, cell: dict[str, Any], rounds: int) -> str:
    accepted = f"  accepted {cell['accepted_per_s']:6.0f}/s" if "accepted_per_s" in cell else ""
    return (
        f"{workload} {cell['round']}/{rounds}  {cell['system']:<9} {cell['mode']:<5} {cell['clients']:>3}  "
        f"{cell['jobs_per_s']:7.1f} jobs/s{accepted}  p50 {cell['p50_ms']:6.1f} ms  p99 {cell['p99_ms']:6.1f} ms  "
        + "  ".join(f"{name} {ms:.2f}" for name, ms in cell["cpu_ms"].items() if ms >= 0.005)
        + f"  others {cell['others_cpu_share']:.0%}"
    )


def ceiling_line(workload: str, one: dict[str, Any]) -> str:
    return (
        f"{workload} {one['round']}  in process, {one['kind']}: {one['rows_per_s']:.1f} rows/s, "
        f"p50 {one['p50_ms']:.3f} ms, CPU {one['cpu_ms_per_row']:.3f} ms a row; "
        f"the idle systems took {one['systems_cpu_share']:.0%} of a core"
    )
