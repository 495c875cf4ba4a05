"""`make demo`: start the embedded farm in a folder of its own, take the tour of demo.py, stop the farm."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
READY_S = 120.0
LOOK_S = 0.1

console = Console(highlight=False)


def main() -> int:
    data = Path(os.environ.get("PENSTOCK_DATA", ROOT / ".penstock"))
    data.mkdir(parents=True, exist_ok=True)
    # A port of its own, so that the demo runs beside a farm that is up; the data folder is the usual one unless taken.
    if (data / "valkey.sock").exists() and in_use(data / "valkey.sock"):
        data = data / "demo"
        data.mkdir(exist_ok=True)
    port = os.environ.get("PENSTOCK_PORT") or str(free_port())
    env = {**os.environ, "PENSTOCK_PORT": port, "PENSTOCK_DATA": str(data), "PENSTOCK_URL": f"http://127.0.0.1:{port}"}
    # Where the farm of `make run` will be.
    env["DEMO_NEXT_PORT"] = os.environ.get("PENSTOCK_PORT", "8080")
    log = data / "farm.log"
    # Ended by SIGTERM, or by a terminal that closes, like by Ctrl-C: the farm goes with the demo.
    for end in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(end, signal.default_int_handler)
    # Run by `farm.py exec`, the farm ends with this process even when this one is killed.
    farm_py = str(ROOT / "farm.py")
    command = [sys.executable, farm_py, "exec", sys.executable, farm_py, "run", "up"]
    with log.open("wb") as out:
        farm = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=out, start_new_session=True)
    try:
        if not ready(env["PENSTOCK_URL"], farm, log):
            return 1
        return subprocess.call([sys.executable, str(ROOT / "examples" / "demo.py")], env=env)
    except KeyboardInterrupt:
        return 130
    finally:
        farm.terminate()
        farm.wait()


def ready(url: str, farm: "subprocess.Popen[bytes]", log: Path) -> bool:
    """Wait until every model is loaded, saying what is waited for."""
    started = time.monotonic()
    with console.status("starting the farm …"):
        while time.monotonic() - started < READY_S:
            if farm.poll() is not None:
                break
            try:
                with urllib.request.urlopen(url + "/readyz", timeout=2):  # nosec B310 # our own farm's http
                    took = time.monotonic() - started
                    console.print(f"the farm is up at {url}, every model loaded, after {took:.1f} s")
                    return True
            except (urllib.error.URLError, OSError):
                time.sleep(LOOK_S)
    console.print(f"[bold red]the farm did not come up[/]; the end of {log}:")
    console.print(log.read_text(errors="replace")[-3000:], markup=False)
    return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def in_use(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    sys.exit(main())
