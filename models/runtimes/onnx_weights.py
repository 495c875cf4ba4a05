"""Weights that all sessions on a host share: a graph made ready for this CPU once, its weights in a file beside it.

ONNX Runtime copies the weights it reads from `model.onnx`, and again into the layout that its kernels want, for each
session. It maps the weights of a prepared graph instead, so that they lie in the page cache once, whatever the number
of processes; and it has nothing left to prepare. Results are the same bit for bit.
"""

import fcntl
import hashlib
import logging
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnxruntime as ort

from lifeline import die_with_parent
from models import cache

log = logging.getLogger("penstock.executor")

#: Models with smaller files than this are not worth a file more, bytes.
MIN_BYTES = 8 * 2**20
#: A tensor of fewer bytes stays in the graph.
MIN_TENSOR_BYTES = "1024"
#: Seconds that it may take to make a graph ready.
TIMEOUT_S = 300
#: The checkout, from which the process that does so imports.
ROOT = Path(__file__).resolve().parents[2]


def shared_session(file: Path, options: Callable[[], ort.SessionOptions]) -> ort.InferenceSession | None:
    """A session on the CPU whose weights are shared, made ready where that was not done; None where it cannot be.

    `options`: those that the session is to have.
    """
    folder = cache.folder()
    if folder is None or sum(one.stat().st_size for one in beside(file)) < MIN_BYTES:
        return None
    place = folder / "onnx" / digest(str(file.resolve()))[:16] / fingerprint(file)
    try:
        if not place.exists():
            make_once(file, place)
        chosen = options()
        # It was optimized when it was made ready.
        chosen.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        return ort.InferenceSession(
            str(place / file.name), chosen, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    # A full or read-only disk, a graph that cannot be written, a file cut short: the model runs without.
    except Exception as error:  # noqa: BLE001 - whatever ONNX Runtime raises
        # It is made anew the next time.
        shutil.rmtree(place, ignore_errors=True)
        log.warning("weights are not shared", extra={"file": str(file), "reason": str(error)[:300]})
        return None


def make_once(file: Path, place: Path) -> None:
    """One executor has it made, and the model's others wait for it; raises whatever goes wrong."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if place.exists():
            return
        # A process of its own: it takes the memory of two sessions, and it may crash.
        command = [sys.executable, "-m", "models.runtimes.onnx_weights", str(file.resolve()), str(place)]
        subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=True, timeout=TIMEOUT_S)


def make(file: Path, place: Path) -> None:
    """Write the graph made ready and its weights into the folder `place`; forget what was made of the file before."""
    making = place.with_suffix(".making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(making / file.name)
    for name, value in (
        ("optimized_model_external_initializers_file_name", "weights"),
        ("optimized_model_external_initializers_min_size_in_bytes", MIN_TENSOR_BYTES),
        ("save_external_prepacked_constant_initializers", "1"),
    ):
        options.add_session_config_entry("session." + name, value)
    ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    for older in place.parent.iterdir():
        if older.is_dir() and older != making:
            shutil.rmtree(older)
    making.rename(place)


def beside(file: Path) -> list[Path]:
    """The files of the graph's folder: its weights may lie in another one than the graph itself."""
    return [one for one in sorted(file.parent.iterdir()) if one.is_file()]


def fingerprint(file: Path) -> str:
    """One name for the files as they are now, on this kind of CPU, for this ONNX Runtime."""
    stats = [(one.name, stat.st_size, stat.st_mtime_ns) for one in beside(file) for stat in [one.stat()]]
    return digest(repr((file.name, stats, ort.__version__, cpu())))[:32]


def cpu() -> str:
    """What the kernels are chosen by: the processor's model and features; empty where Linux' /proc does not tell."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return ""
    told = ("model name", "flags", "Features", "CPU part")
    return "\n".join(line for line in first.splitlines() if line.startswith(told))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    die_with_parent(signal.SIGKILL)
    make(Path(sys.argv[1]), Path(sys.argv[2]))
