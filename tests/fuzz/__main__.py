"""Send what nobody would send; exit 1 where the farm answers with a fault of its own, or dies.

python -m tests.fuzz [--requests 100000] [--messages 10000] [--seed 1] [--output FILE.json]
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from tests.farm.conftest import servers
from tests.farm.repository import build
from tests.fuzz.campaign import KEPT, Campaign

#: Requests in one step of the progress line.
STEP = 2000
#: Part of the requests that schemathesis makes.
BY_SCHEMA = 0.2


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="[%(default)s]")
    parser.add_argument("--messages", type=int, default=10_000, help="straight into a lane [%(default)s]")
    parser.add_argument("--seed", type=int, default=1, help="[%(default)s]")
    parser.add_argument("--output", type=Path, help="write what was counted as JSON")
    asked = parser.parse_args()
    console, began = Console(stderr=True), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="penstock-") as name:
        farm = servers(Path(name), build(Path(name) / "models", "echo", "trouble"))
        try:
            farm.start()
            farm.wait_ready()
            campaign = Campaign(farm, asked.seed)
            try:
                run(campaign, asked.requests, asked.messages, console)
            except KeyboardInterrupt:
                console.print("stopped; what was counted so far:")
            failures = campaign.finish()
        finally:
            farm.close()
    counted = {
        "seed": asked.seed, "requests": campaign.requests, "messages": campaign.messages,
        "statuses": dict(sorted(campaign.statuses.items())), "failures": len(failures),
        "shown": failures[:KEPT], "seconds": round(time.monotonic() - began),
    }  # fmt: skip
    print(json.dumps(counted, indent=2))
    if asked.output:
        asked.output.write_text(json.dumps(counted, indent=2) + "\n")
    return 1 if failures else 0


def run(campaign: Campaign, wanted: int, messages: int, console: Console) -> None:
    with console.status("") as line:
        line.update(f"{messages} messages")
        campaign.by_messages(messages)
        while (left := round(wanted * (1 - BY_SCHEMA)) - campaign.requests) > 0:
            line.update(f"{campaign.requests:,} of {wanted:,} requests, {len(campaign.failures)} failures")
            campaign.by_bytes(min(STEP, left))
            campaign.number += 1
        each = 10
        while campaign.requests < wanted:
            line.update(f"{campaign.requests:,} of {wanted:,} requests, {len(campaign.failures)} failures")
            campaign.by_schema(each)
            campaign.number += 1
            each = 100


if __name__ == "__main__":
    sys.exit(main())
