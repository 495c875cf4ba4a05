"""Run a command that dies with its parent: `python -I -S tether.py PARENT_PID COMMAND…`.

A launcher and not a `preexec_fn`: Python code between fork and exec can hang where the parent has threads.
The kernel's death signal outlives exec (prctl(2)); it is sent when the thread that started the child ends.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the call above.
    if os.getppid() != parent:
        sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
