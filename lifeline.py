"""A process that ends when the one that started it does, however that one ends (Linux; elsewhere nothing is done)."""

import ctypes
import signal
import sys

#: prctl option: which signal the kernel sends when the parent ends (linux/prctl.h). Kept across exec; the parent is the
#: thread that started the process.
PR_SET_PDEATHSIG = 1


def die_with_parent(by: signal.Signals) -> None:
    """Ask the kernel to send `by` to this process when its parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, by)
