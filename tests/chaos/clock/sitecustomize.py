"""Python imports this at its start (PYTHONPATH): its clock then shows what the test wants it to show.

`CHAOS_CLOCK` names a file of eight bytes, milliseconds to add as a signed integer. The monotonic clock stays as it is.
"""

import mmap
import os
import struct
import time


def shift(path: str) -> None:
    with open(path, "r+b") as file:
        # Shared with the test, which changes it while the process runs.
        offset = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    real, real_ns, read = time.time, time.time_ns, struct.Struct("<q").unpack_from
    time.time = lambda: real() + read(offset)[0] / 1000
    time.time_ns = lambda: real_ns() + read(offset)[0] * 1_000_000


if path := os.environ.get("CHAOS_CLOCK"):
    shift(path)
