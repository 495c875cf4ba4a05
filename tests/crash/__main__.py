"""Kill at every step, again and again; exit 1 where a job was lost, doubled or crossed.

python -m tests.crash [--times 20] [--only gateway] [--output FILE.json]
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.crash.drill import drilling
from tests.crash.points import POINTS

COLUMNS = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="kills at each step [%(default)s]")
    parser.add_argument("--only", default="", help="steps whose name begins so")
    parser.add_argument("--output", type=Path, help="write what was counted as JSON")
    asked = parser.parse_args()
    steps = [step for step in POINTS if step.startswith(asked.only)]
    kills, failures, began = dict.fromkeys(steps, 0), list[str](), time.monotonic()
    jobs = 0
    with tempfile.TemporaryDirectory(prefix="penstock-") as name, drilling(Path(name)) as drills:
        try:
            with Progress(*COLUMNS) as progress:
                task = progress.add_task("", total=len(steps) * asked.times)
                for _ in range(asked.times):
                    for step in steps:
                        progress.update(task, description=step)
                        try:
                            drills.run(step)
                            kills[step] += 1
                        except AssertionError as error:
                            failures.append(f"{step}: {error}")
                        progress.advance(task)
            if not failures:
                drills.at_rest()
        except AssertionError as error:
            failures.append(f"at rest: {error}")
        except KeyboardInterrupt:
            print("stopped; what was counted so far:", file=sys.stderr)
        jobs = len(drills.sent)
    counted = {"kills": kills, "jobs": jobs, "failures": failures, "seconds": round(time.monotonic() - began)}
    print(json.dumps(counted, indent=2))
    if asked.output:
        asked.output.write_text(json.dumps(counted, indent=2) + "\n")
    return 1 if failures or not all(kills.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
