"""Break everything under load, and check that no promise was broken.

python -m tests.chaos --seeds 1-10 --seconds 120        real RabbitMQ, Redis and S3
python -m tests.chaos --way embedded --seeds 1          one Valkey as store and broker
"""

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import msgspec

from tests.chaos.farm import Way
from tests.chaos.faults import FAULTS, known
from tests.chaos.report import Result, text
from tests.chaos.run import run_seed
from tests.services.install import missing_sentence


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends as Ctrl-C does, and leaves nothing behind."""


def terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    if options.way is not Way.EMBEDDED and (sentence := missing_sentence()):
        print(sentence, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, terminate)
    results: list[Result] = []
    try:
        for seed in options.seeds:
            # One by one: what is done stays when the next one is stopped.
            results += [run(seed, options)]
    except KeyboardInterrupt:
        print("stopped; what follows is of the seeds that came to their end", file=sys.stderr)
    if not results:
        return 130
    written = write(results, options.report)
    print(written if options.json else text(results))
    return int(any(one.violations for one in results))


def run(seed: int, options: argparse.Namespace) -> Result:
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"[seed {seed}, {time.monotonic() - began:5.0f} s] {line}", file=sys.stderr, flush=True)

    keep = options.keep and options.keep / str(seed)
    faults = known(options.faults, options.way)
    return run_seed(seed, options.seconds, faults, options.way, pause_s=options.pause_ms / 1000, say=say, keep=keep)


def write(results: list[Result], path: Path) -> str:
    """The report as JSON and, beside it, as text; returns the JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = msgspec.json.format(msgspec.json.encode(results)).decode()
    path.write_text(found + "\n")
    path.with_suffix(".txt").write_text(text(results) + "\n")
    return found


def parse(arguments: list[str]) -> argparse.Namespace:
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser("python -m tests.chaos", description=lines[0])
    parser.add_argument("--seeds", "--seed", type=seeds, default=[1], help="7, or 1-10, or 1,4,9")
    parser.add_argument("--seconds", type=float, default=120, help="of load and faults for each seed")
    parser.add_argument("--faults", default="", help="only these, separated by commas: " + ", ".join(FAULTS))
    parser.add_argument("--way", type=Way, default=Way.SERVERS, choices=list(Way), help="what the farm runs on")
    parser.add_argument("--pause-ms", type=float, default=60, help="mean pause of a client between two submissions")
    parser.add_argument("--report", type=Path, default=Path(".penstock/chaos.json"), help="where the report goes")
    parser.add_argument("--keep", type=Path, help="keep each seed's logs and history in a folder here")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    try:
        known(options.faults, options.way)
    except ValueError as error:
        parser.error(str(error))
    return options


def seeds(text: str) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
