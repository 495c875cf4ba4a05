"""A child process that dies with this one, and a service made of such children."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TETHER = str(Path(__file__).with_name("tether.py"))
#: How often a starting server is probed, in seconds.
PROBE_EVERY_S = 0.02
#: How much of a log an error shows, in bytes.
TAIL_BYTES = 2000


class StartError(Exception):
    """A server did not come up; the message ends with the tail of its log."""


class Child:
    """One server process. `prepare` runs before each start; `probe` raises until the server answers."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        probe: Callable[[], object],
        prepare: Callable[[], object] = lambda: None,
        env: Mapping[str, str] | None = None,
        ready_s: float = 30.0,
        stop_s: float = 10.0,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.argv, self.log, self.probe, self.prepare = list(argv), log, probe, prepare
        self.env = {**os.environ, **(env or {})}
        self.ready_s, self.stop_s, self.stop_signal = ready_s, stop_s, stop_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self.argv[0]} is not running")
        return self._process.pid

    def spawn(self) -> None:
        self.prepare()
        tether = [sys.executable, "-I", "-S", TETHER, str(os.getpid())]
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C on the terminal reaches us, and we stop the servers in order.
            self._process = subprocess.Popen(
                [*tether, *self.argv],
                env=self.env,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Probe until the server answers; raises StartError when it ends or `ready_s` seconds pass."""
        deadline = time.monotonic() + self.ready_s
        while True:
            if self._process is None or self._process.poll() is not None:
                raise StartError(self._failure("ended at its start"))
            try:
                self.probe()
                return
            except Exception as error:  # Whatever it is, the server is not ready yet.
                if time.monotonic() > deadline:
                    self.kill()
                    raise StartError(self._failure(f"gave no answer in {self.ready_s:g} s ({error!r})")) from error
            time.sleep(PROBE_EVERY_S)

    def stop(self) -> None:
        """Ask, wait `stop_s` seconds, kill. Does nothing where nothing runs."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(self.stop_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reap()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._reap()

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()
            self._process = None

    def _failure(self, what: str) -> str:
        tail = self.log.read_bytes()[-TAIL_BYTES:].decode(errors="replace")
        return f"{self.argv[0]} {what}; the end of {self.log}:\n{tail}"


@dataclass(frozen=True)
class Service:
    """Servers that work as one: started in order, stopped in reverse, on the same ports and data each time."""

    folder: Path
    children: tuple[Child, ...] = field(repr=False)

    def launch(self) -> None:
        """Start everything without waiting for the last server, so that several services come up side by side."""
        *before, last = self.children
        for child in before:
            child.spawn()
            child.wait_ready()
        last.spawn()

    def wait_ready(self) -> None:
        try:
            self.children[-1].wait_ready()
        except StartError:
            self.kill()
            raise

    def start(self) -> None:
        self.launch()
        self.wait_ready()

    def stop(self) -> None:
        for child in reversed(self.children):
            child.stop()

    def kill(self) -> None:
        for child in reversed(self.children):
            child.kill()

    def pause(self) -> None:
        """Stop the clock of the server that clients talk to: it keeps its connections and answers nothing."""
        self.children[-1].pause()

    def resume(self) -> None:
        self.children[-1].resume()

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(child.pid for child in self.children)
