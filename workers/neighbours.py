"""Workers of one host see each other die, so that nobody has to wait until a sign of life has run out.

A worker says where its process is: which kernel and which process namespace, its number there, and when it began (a
number is used again). Where that cannot be told (no /proc) nothing is said, and the time to live decides.
"""

import os
from pathlib import Path

from storage.workers import Workers

#: Fields of /proc/<pid>/stat after the name in brackets: the state, and the start in clock ticks since boot; proc(5).
STATE, STARTED = 0, 19


def here(proc: Path = Path("/proc")) -> str:
    """This process; empty where that cannot be told."""
    try:
        return f"{host(proc)}/{os.getpid()}/{stat(proc, os.getpid())[STARTED]}"
    except (OSError, IndexError):
        return ""


def died(process: str, proc: Path = Path("/proc")) -> bool:
    """Whether a process that said so of itself is known to have ended; False for one of another host."""
    place, _, rest = process.rpartition("/")
    where, _, pid = place.rpartition("/")
    try:
        if not where or where != host(proc):
            return False
        found = stat(proc, int(pid))
    except FileNotFoundError:
        return True
    except (OSError, ValueError, IndexError):
        return False
    return found[STARTED] != rest or found[STATE] in ("Z", "X")


def bury(workers: Workers, own: str) -> list[str]:
    """Note which workers of this host have died, `own` excepted; their names. Raises StoreUnavailable."""
    dead = [status.name for status in workers.all() if status.name != own and died(status.process)]
    for name in dead:
        workers.bury(name)
    return dead


def host(proc: Path) -> str:
    return (proc / "sys/kernel/random/boot_id").read_text().strip() + os.readlink(proc / "self/ns/pid")


def stat(proc: Path, pid: int) -> list[str]:
    return (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
