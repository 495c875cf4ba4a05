"""One executor, seen from the worker: a child process that holds one instance of a model and runs its batches.

Spawned, never forked (CUDA), and a process of its own, so that a crash or a kill for memory takes down the
executor and not the worker, and unloading gives back all memory.
"""

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from errors import LoadError
from workers import wire
from workers.devices import child_environment
from workers.memory import Watch

#: Seconds a model may take to load and warm up.
LOAD_TIMEOUT_S = 600.0
#: The checkout, from which the child imports.
ROOT = Path(__file__).resolve().parent.parent


class ExecutorDied(Exception):
    """The executor's process ended while it held a batch."""


class ExecutorHung(Exception):
    """The executor did not answer in time; it was killed."""


class ExecutorOversized(ExecutorDied):
    """The executor took far more memory than its model may, and was killed."""


class Executor:
    """Starts its process when made; `load` waits until it is ready."""

    #: The module that the process runs.
    program = "workers.child"

    def __init__(self, spec: wire.Spec, *, threads: int, memory_mb: int | None = None) -> None:
        ours, theirs = socket.socketpair()
        self._pipe = Connection(ours.detach())
        # Connection.poll makes a selector for each call, which costs more than a small batch does.
        self._poll = select.poll()
        self._poll.register(self._pipe, select.POLLIN)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.program, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                cwd=ROOT,
                env=child_environment(spec.device, threads, os.environ),
                stdin=subprocess.DEVNULL,
            )
        self._watch = Watch(self._process.pid, memory_mb, self._process.kill) if memory_mb else None
        wire.send(self._pipe, spec)

    @property
    def pid(self) -> int:
        return self._process.pid

    def load(self) -> wire.Ready:
        """Wait until the model is loaded and warm; raises LoadError with the reason."""
        try:
            reply = self._receive(LOAD_TIMEOUT_S)
        except ExecutorOversized as error:
            raise LoadError(f"{error}, while it loaded") from error
        except ExecutorDied as error:
            raise LoadError(f"the process that loaded the model ended with {error}") from error
        except ExecutorHung as error:
            raise LoadError(f"the model was not ready after {LOAD_TIMEOUT_S:.0f} s") from error
        if isinstance(reply, wire.LoadFailed):
            raise LoadError(reply.reason)
        if not isinstance(reply, wire.Ready):
            raise LoadError(f"the executor answered {type(reply).__name__} instead of being ready")
        if self._watch and self._watch.exceeds():
            raise LoadError(f"{self._watch.reason} before its first job")
        return reply

    def oversized(self) -> str:
        """Why this executor must be replaced for its memory, in words; empty while it need not."""
        return self._watch.reason if self._watch and self._watch.oversized() else ""

    def run(self, items: Sequence[wire.Item], *, timeout_s: float) -> wire.Done:
        """Run one batch; raises ExecutorDied or, past `timeout_s`, kills the process and raises ExecutorHung."""
        self.send(items)
        return self.receive(timeout_s)

    def send(self, items: Sequence[wire.Item]) -> None:
        """Hand a batch down; one that is sent while another runs is begun after it. Raises ExecutorDied."""
        self._hand_down(wire.Batch(list(items)))

    def send_slice(self, order: wire.Slice) -> None:
        """Have the shards go on for a moment, while nothing else runs. Raises ExecutorDied."""
        self._hand_down(order)

    def receive_slice(self, timeout_s: float) -> wire.Sliced:
        """What the slice came to; raises as `receive` does."""
        reply = self._receive(timeout_s)
        if not isinstance(reply, wire.Sliced):
            raise self._unexpected(reply)
        return reply

    def _hand_down(self, order: wire.Order) -> None:
        try:
            wire.send(self._pipe, order)
        except OSError as error:
            raise self._death() from error

    def answered(self, within_s: float) -> bool:
        """Wait until there is an answer to receive (or an end of the process); False when there is none by then."""
        return bool(self._poll.poll(within_s * 1000))

    def receive(self, timeout_s: float) -> wire.Done:
        """The oldest batch's outcomes; raises ExecutorDied or, past `timeout_s`, kills it and raises ExecutorHung."""
        reply = self._receive(timeout_s)
        if not isinstance(reply, wire.Done):
            raise self._unexpected(reply)
        return reply

    def _unexpected(self, reply: wire.Reply) -> ExecutorDied:
        self.kill()
        return ExecutorDied(f"an unexpected {type(reply).__name__}")

    def _receive(self, timeout_s: float) -> wire.Reply:
        try:
            if not self.answered(timeout_s):
                self.kill()
                raise ExecutorHung(f"no answer in {timeout_s:g} s")
            return wire.receive_reply(self._pipe)
        except (EOFError, OSError) as error:
            raise self._death() from error

    def _death(self) -> ExecutorDied:
        how = self._end()
        if self._watch and self._watch.killed:
            return ExecutorOversized(self._watch.reason)
        return ExecutorDied(how)

    def _end(self) -> str:
        """How the process ended, in words."""
        self.kill()
        code = self._process.returncode
        if code is not None and code < 0:
            return f"signal {signal.Signals(-code).name}"
        return f"exit code {code}"

    def stop(self) -> None:
        """Let the process end by itself: it does when its pipe closes."""
        if self._watch:
            self._watch.end()
        self._pipe.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        if self._watch:
            self._watch.end()
        try:
            # A process that is ending by itself gets a moment, so that its own exit status is the one reported.
            self._process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if not self._pipe.closed:
            self._pipe.close()
