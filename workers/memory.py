"""How much memory an executor takes, and where it ends. Linux' /proc is read: a model library is not needed to know."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

MIB = 2**20
#: Between looks at a model that has a limit, seconds.
LOOK_S = 1.0
#: Above so many times its limit an executor is killed in mid-batch; below, it is replaced after its batch.
FAR = 1.5
_PAGE = os.sysconf("SC_PAGE_SIZE")


def tree_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants, pages of files included; 0 when it has gone."""
    # Processes end while they are looked at.
    try:
        resident = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE
        return resident + sum(tree_bytes(child) for child in children(pid))
    except (FileNotFoundError, ProcessLookupError):
        return 0


def children(pid: int) -> list[int]:
    """The processes that a process started; raises FileNotFoundError or ProcessLookupError when it has gone."""
    threads = [path / "children" for path in Path(f"/proc/{pid}/task").iterdir()]
    if all(path.exists() for path in threads):
        return [int(child) for path in threads for child in path.read_bytes().split()]
    # A kernel that does not list them (CONFIG_PROC_CHILDREN): every process is asked for its parent.
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if parent(path) == pid]


def parent(path: Path) -> int:
    """The parent of the process whose folder in /proc is given; 0 when it has gone."""
    try:
        # The name, which stands in parentheses, may hold anything.
        return int((path / "stat").read_bytes().rpartition(b")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


class Watch:
    """Looks at one process once a second, and has it killed when it exceeds its limit by far."""

    def __init__(self, pid: int, limit_mb: int, kill: Callable[[], None]) -> None:
        self._pid = pid
        self._limit = limit_mb * MIB
        self._kill = kill
        #: What was found above the limit, in words; empty while nothing was.
        self.reason = ""
        #: Whether the process was killed for it.
        self.killed = False
        self._suspected = False
        self._ended = threading.Event()
        threading.Thread(target=self._look, name=f"memory-{pid}", daemon=True).start()

    def oversized(self) -> bool:
        """Whether the process is above its limit now; costs nothing as long as no look has found it there."""
        if self._suspected:
            self._suspected = self.exceeds()
        return self._suspected

    def exceeds(self, times: float = 1.0) -> bool:
        """Whether it is above so many times its limit, measured now."""
        used = tree_bytes(self._pid)
        if used > self._limit:
            self.reason = f"it took {used // MIB} MiB of memory, and limits.memory_mb is {self._limit // MIB}"
        return used > times * self._limit

    def end(self) -> None:
        self._ended.set()

    def _look(self) -> None:
        while not self._ended.wait(LOOK_S):
            if self.exceeds():
                self._suspected = True
                if self.exceeds(FAR):
                    self.killed = True
                    self._kill()
                    return
