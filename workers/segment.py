"""Shared memory between processes: a sealed memfd, handed over with its descriptor (memfd_create(2), unix(7)).

It has no name, so that nothing can be left behind: the kernel frees it when the last process that holds it, or a
message on its way, is gone. Sealed, it can neither shrink nor change under those who look into it.
"""

import fcntl
import mmap
import os
import socket
from collections.abc import Sequence
from multiprocessing.connection import Connection

#: Most descriptors in one control message (SCM_MAX_FD is 253).
MOST_AT_ONCE = 200
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


class Segment:
    """Some bytes of shared memory; its descriptor is closed with the last reference to this object."""

    __slots__ = ("fd", "size")

    def __init__(self, size: int, fd: int = -1) -> None:
        #: -1 while the message that announced it has come and its descriptor has not.
        self.fd = fd
        #: Bytes.
        self.size = size

    @classmethod
    def of(cls, parts: Sequence[tuple[int, memoryview]], size: int) -> "Segment":
        """A sealed segment of `size` bytes with each part at its offset; raises OSError where there is no memory."""
        segment = cls(size, os.memfd_create("penstock-tensors", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
        os.ftruncate(segment.fd, size)
        for offset, part in parts:
            written = 0
            # The kernel writes at most 2 GiB at once.
            while written < len(part):
                written += os.pwrite(segment.fd, part[written:], offset + written)
        fcntl.fcntl(segment.fd, fcntl.F_ADD_SEALS, _SEALS)
        return segment

    def view(self) -> mmap.mmap:
        """The bytes, without a copy; what is written to them stays in this process. Raises OSError, ValueError."""
        return mmap.mmap(self.fd, self.size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    __del__ = close


def send(pipe: Connection, segments: Sequence[Segment]) -> None:
    """Send the descriptors, behind the message that announced them."""
    with _Socket(pipe) as sock:
        for first in range(0, len(segments), MOST_AT_ONCE):
            some = segments[first : first + MOST_AT_ONCE]
            socket.send_fds(sock, [b"\0"], [segment.fd for segment in some])


def receive(pipe: Connection, segments: Sequence[Segment]) -> None:
    """Receive the descriptors of announced segments; raises EOFError when the other side has gone.

    Raises OSError where this process may hold no more descriptors.
    """
    with _Socket(pipe) as sock:
        for first in range(0, len(segments), MOST_AT_ONCE):
            some = segments[first : first + MOST_AT_ONCE]
            data, fds, _, _ = socket.recv_fds(sock, 1, len(some), socket.MSG_CMSG_CLOEXEC)
            for segment, fd in zip(some, fds, strict=False):
                segment.fd = fd
            if not data:
                raise EOFError
            if len(fds) < len(some):
                raise OSError(f"{len(fds)} of {len(some)} descriptors of shared memory came: is the limit reached?")


class _Socket:
    """The pipe's socket for as long as descriptors are handed over."""

    def __init__(self, pipe: Connection) -> None:
        self._sock = socket.socket(fileno=pipe.fileno())

    def __enter__(self) -> socket.socket:
        return self._sock

    def __exit__(self, *_: object) -> None:
        # The descriptor stays the pipe's.
        self._sock.detach()
