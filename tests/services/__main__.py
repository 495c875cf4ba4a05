"""Run RabbitMQ, Redis and S3 for a command or by hand.

python -m tests.services                 prints the URLs as shell exports, runs until Ctrl-C
python -m tests.services -- COMMAND…     runs COMMAND with the URLs set, exits with its code
"""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from types import FrameType

from tests.services.farm import running_farm
from tests.services.install import missing_sentence
from tests.services.process import StartError


class Terminated(KeyboardInterrupt):
    """SIGTERM, which unlike Ctrl-C is sent to this process alone."""


def terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def main(arguments: list[str]) -> int:
    if arguments[:1] not in ([], ["--"]):
        print(__doc__)
        return 0 if arguments[0] in ("-h", "--help") else 2
    if sentence := missing_sentence():
        print(sentence, file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, terminate)
    try:
        with running_farm() as farm:
            return run(arguments[1:], farm.urls) if arguments else show(farm.urls)
    except StartError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def run(command: list[str], urls: Mapping[str, str]) -> int:
    child = subprocess.Popen(command, env={**os.environ, **urls})
    while True:
        try:
            code = child.wait()
            return code if code >= 0 else 128 - code
        except Terminated:
            child.terminate()
        except KeyboardInterrupt:
            # The terminal sent it to the command as well, which ends in its own way before its servers do.
            continue


def show(urls: Mapping[str, str]) -> int:
    for name, url in urls.items():
        print(f"export {name}={shlex.quote(url)}", flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
