"""HTTP clients that cost little: one thread, one epoll, raw sockets with keep-alive, requests made once.

A client runs a session: a generator that yields a request, and is sent its answer; or yields a pause in seconds.
"""

import heapq
import select
import socket
import time
from collections.abc import Callable, Generator
from typing import NamedTuple
from urllib.parse import urlsplit

#: Longest that the sessions may take after the time that they were given, seconds.
DRAIN_S = 120.0
RECEIVE_BYTES = 262_144


class LoadError(Exception):
    """The server's answer was not the one that a job gets."""


class Answer(NamedTuple):
    status: int
    body: bytes


Session = Generator[bytes | float, Answer, None]


class Target:
    """Makes requests for one server."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self.address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._common = f"Host: {parts.netloc}\r\nAuthorization: Bearer {key}\r\n"
        self._after = f" HTTP/1.1\r\n{self._common}\r\n".encode()

    def post(self, path: str, body: bytes, headers: str = "") -> bytes:
        head = (
            f"POST {path} HTTP/1.1\r\n{self._common}{headers}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def get(self, path: bytes) -> bytes:
        return b"GET " + path + self._after


class Client:
    """One connection, and the session that runs on it."""

    def __init__(self, address: tuple[str, int], session: Session) -> None:
        self.socket = socket.create_connection(address, timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.session = session
        self._unsent = memoryview(b"")
        self._received = bytearray()
        #: Length of the answer that is arriving, head included; 0: not known yet.
        self._expected = 0
        self._head = 0

    def send(self, request: bytes) -> bool:
        """Begin to send; False where the socket has taken only a part."""
        self._unsent = memoryview(request)
        return self.send_on()

    def send_on(self) -> bool:
        try:
            self._unsent = self._unsent[self.socket.send(self._unsent) :]
        except BlockingIOError:
            return False
        return not self._unsent

    def answer(self) -> Answer | None:
        """The answer, once it is here as a whole; raises LoadError when the server has closed."""
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise LoadError("the server closed the connection")
        self._received += data
        if not self._expected and not self._measure():
            return None
        if len(self._received) < self._expected:
            return None
        answer = Answer(int(self._received[9:12]), bytes(self._received[self._head : self._expected]))
        del self._received[: self._expected]
        self._expected = 0
        return answer

    def _measure(self) -> bool:
        """Read how long the answer is, where its head is here."""
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._received[:end]).lower()
        at = head.find(b"\r\ncontent-length:")
        if at < 0:
            raise LoadError(f"an answer without Content-Length: {head[:500].decode(errors='replace')}")
        stop = head.find(b"\r\n", at + 2)
        self._head = end + 4
        self._expected = self._head + int(head[at + 17 : stop if stop > 0 else end])
        return True

    def close(self) -> None:
        self.socket.close()


class Clients:
    """All of them, on one epoll."""

    def __init__(self, address: tuple[str, int], sessions: list[Session]) -> None:
        self._epoll = select.epoll()
        self._clients = [Client(address, session) for session in sessions]
        self._by_fd = {client.socket.fileno(): client for client in self._clients}
        for fd in self._by_fd:
            self._epoll.register(fd, select.EPOLLIN)
        self._pauses: list[tuple[float, int]] = []
        self._busy = len(self._clients)

    def run(self, seconds: float, *, clock: Callable[[], float] = time.perf_counter) -> None:
        """Run every session to its end; raises LoadError where one needs much longer than `seconds`."""
        until = clock() + seconds + DRAIN_S
        try:
            for client in self._clients:
                self._step(client, None)
            while self._busy:
                self._turn(clock)
                if clock() > until:
                    raise LoadError(f"{self._busy} clients had no answer {DRAIN_S:g} s after the end")
        finally:
            self.close()

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._epoll.close()

    def _turn(self, clock: Callable[[], float]) -> None:
        timeout_s = max(0.0, self._pauses[0][0] - clock()) if self._pauses else 1.0
        for fd, event in self._epoll.poll(timeout_s):
            client = self._by_fd[fd]
            if event & select.EPOLLOUT:
                if client.send_on():
                    self._epoll.modify(fd, select.EPOLLIN)
            elif (answer := client.answer()) is not None:
                self._step(client, answer)
        now = clock()
        while self._pauses and self._pauses[0][0] <= now:
            self._step(self._by_fd[heapq.heappop(self._pauses)[1]], None)

    def _step(self, client: Client, answer: Answer | None) -> None:
        try:
            step = next(client.session) if answer is None else client.session.send(answer)
        except StopIteration:
            self._busy -= 1
            return
        fd = client.socket.fileno()
        if isinstance(step, bytes):
            if not client.send(step):
                self._epoll.modify(fd, select.EPOLLOUT)
        else:
            heapq.heappush(self._pauses, (time.perf_counter() + step, fd))
