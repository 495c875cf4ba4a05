"""A disk that can be filled: a small file system in memory, shrunk to what it holds and grown again. Needs root."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE_MB = 1024
#: Shrinking races with whoever writes.
TRIES = 100


@contextmanager
def mounted(folder: Path) -> Iterator[bool]:
    """A file system of its own at `folder`; False where this user may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    done = mount("-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(folder))
    try:
        yield done
    finally:
        if done:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def mount(*arguments: str) -> bool:
    try:
        return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def fill(folder: Path) -> None:
    """Hardly a byte more fits; raises OSError where the file system cannot be shrunk."""
    for _ in range(TRIES):
        space = os.statvfs(folder)
        used = (space.f_blocks - space.f_bfree) * space.f_frsize
        # It grows meanwhile, and does not shrink below what it holds.
        if mount("-o", f"remount,size={used + space.f_frsize}", str(folder)):
            return
    raise OSError(f"cannot shrink the file system at {folder}")


def empty(folder: Path) -> None:
    mount("-o", f"remount,size={SIZE_MB}m", str(folder))
