"""The load generator: `python -m bench.load MODE URL --concurrency N --seconds S`; prints one JSON object.

One thread, one epoll, raw sockets with keep-alive and requests made once, so that it takes little of the machine it
measures; its own CPU is part of what it reports. Each client does one job after the other.

wait   POST with `Prefer: wait`: one request a job
poll   POST, then `GET ?wait=30`
plain  POST, then GET after a pause that doubles with each, since the plain app has no long poll
"""

import argparse
import gc
import heapq
import json
import resource
import select
import socket
import time
from collections.abc import Callable, Generator
from typing import NamedTuple
from urllib.parse import urlsplit

#: The plain app's users pause before a look, seconds: first, and longest. Doubling asks less often than most would.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.005, 0.1
#: Longest that the jobs under way at the end may take, seconds.
DRAIN_S = 30.0
ROW = [float(number) / 4 for number in range(16)]
RECEIVE_BYTES = 65536


class LoadError(Exception):
    """The server's answer was not the one that a job gets."""


class Answer(NamedTuple):
    status: int
    body: bytes


#: One job: yields requests and pauses, is sent answers, returns how many times it looked for its result.
Job = Generator[bytes | float, Answer, int]


class Target:
    """Ready-made requests for one server."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self.address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._common = f"Host: {parts.netloc}\r\nAuthorization: Bearer {key}\r\n"

    def post(self, path: str, value: object, headers: str = "") -> bytes:
        body = json.dumps(value, separators=(",", ":")).encode()
        head = (
            f"POST {path} HTTP/1.1\r\n{self._common}{headers}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def get(self) -> tuple[bytes, bytes]:
        """What stands before and after the path."""
        return b"GET ", f" HTTP/1.1\r\n{self._common}\r\n".encode()


def waiting(target: Target) -> Callable[[], Job]:
    request = target.post("/v1/jobs", {"model": "echo", "inputs": {"x": ROW}}, "Prefer: wait=30\r\n")

    def job() -> Job:
        answer = yield request
        check(answer, 200, b'"status":"succeeded"')
        return 0

    return job


def polling(target: Target) -> Callable[[], Job]:
    request = target.post("/v1/jobs", {"model": "echo", "inputs": {"x": ROW}})
    before, after = target.get()

    def job() -> Job:
        answer = yield request
        check(answer, 202, b'"id":"')
        look = before + b"/v1/jobs/" + quoted(answer.body, b'"id":"') + b"?wait=30" + after
        looks = 0
        while True:
            answer = yield look
            looks += 1
            if b'"status":"queued"' not in answer.body and b'"status":"running"' not in answer.body:
                check(answer, 200, b'"status":"succeeded"')
                return looks

    return job


def plain(target: Target) -> Callable[[], Job]:
    request = target.post("/jobs", {"x": ROW})
    before, after = target.get()

    def job() -> Job:
        answer = yield request
        check(answer, 202, b'"id":"')
        look = before + b"/jobs/" + quoted(answer.body, b'"id":"') + after
        looks, pause_s = 0, FIRST_PAUSE_S
        while True:
            yield pause_s
            answer = yield look
            looks += 1
            if b'"status":"PENDING"' not in answer.body and b'"status":"STARTED"' not in answer.body:
                check(answer, 200, b'"status":"SUCCESS"')
                return looks
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    return job


MODES: dict[str, Callable[[Target], Callable[[], Job]]] = {"wait": waiting, "poll": polling, "plain": plain}


def check(answer: Answer, status: int, part: bytes) -> None:
    if answer.status != status or part not in answer.body:
        raise LoadError(f"{answer.status} {answer.body[:500].decode(errors='replace')}")


def quoted(body: bytes, start: bytes) -> bytes:
    begin = body.index(start) + len(start)
    return body[begin : body.index(b'"', begin)]


class Client:
    """One connection, and the job that it is at."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.received = b""
        self.job: Job | None = None
        self.began_s = 0.0

    def answer(self) -> Answer | None:
        """The answer, once it is here as a whole; raises LoadError when the server has closed."""
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise LoadError("the server closed the connection")
        self.received += data
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = self.received[:end].lower()
        at = head.index(b"content-length:") + 15
        stop = head.find(b"\r\n", at)
        length = int(head[at : stop if stop > 0 else end])
        if len(self.received) < end + 4 + length:
            return None
        body, self.received = self.received[end + 4 : end + 4 + length], b""
        return Answer(int(head[9:12]), body)


class Load:
    """All the clients, on one epoll."""

    def __init__(self, address: tuple[str, int], make_job: Callable[[], Job], *, concurrency: int) -> None:
        self._make_job = make_job
        self._epoll = select.epoll()
        self._clients = [Client(address) for _ in range(concurrency)]
        self._by_fd = {client.socket.fileno(): client for client in self._clients}
        for fd in self._by_fd:
            self._epoll.register(fd, select.EPOLLIN)
        self._pauses: list[tuple[float, int]] = []
        self._busy = 0
        #: Of each job: when it was done, how long it took, how often it looked.
        self.done: list[tuple[float, float, int]] = []

    def run(self, seconds: float) -> float:
        """Start jobs for so long and finish them; returns when it began, monotonic seconds."""
        began_s = time.perf_counter()
        self._until_s = began_s + seconds
        for client in self._clients:
            self._begin(client)
        while self._busy:
            self._turn()
            if time.perf_counter() > self._until_s + DRAIN_S:
                raise LoadError(f"{self._busy} jobs had no answer {DRAIN_S:g} s after the end")
        return began_s

    def _begin(self, client: Client) -> None:
        client.began_s = time.perf_counter()
        if client.began_s < self._until_s:
            client.job = self._make_job()
            self._busy += 1
            self._step(client, None)

    def _turn(self) -> None:
        timeout_s = max(0.0, self._pauses[0][0] - time.perf_counter()) if self._pauses else 1.0
        for fd, _ in self._epoll.poll(timeout_s):
            client = self._by_fd[fd]
            answer = client.answer()
            if answer is not None:
                self._step(client, answer)
        now = time.perf_counter()
        while self._pauses and self._pauses[0][0] <= now:
            self._step(self._by_fd[heapq.heappop(self._pauses)[1]], None)

    def _step(self, client: Client, answer: Answer | None) -> None:
        job = client.job
        if job is None:
            raise LoadError("an answer to no question")
        try:
            step = next(job) if answer is None else job.send(answer)
        except StopIteration as end:
            now = time.perf_counter()
            self.done.append((now, now - client.began_s, end.value))
            self._busy -= 1
            self._begin(client)
            return
        if isinstance(step, bytes):
            client.socket.send(step)
        else:
            heapq.heappush(self._pauses, (time.perf_counter() + step, client.socket.fileno()))


def measure(mode: str, url: str, *, key: str, concurrency: int, seconds: float) -> dict[str, float]:
    """Jobs that ended within `seconds`, and all of them (`all_jobs`) for whoever divides a cost by them."""
    target = Target(url, key)
    load = Load(target.address, MODES[mode](target), concurrency=concurrency)
    # Nothing here makes cycles, and a collection would show up as latency.
    gc.disable()
    cpu_s = time.process_time()
    began_s = load.run(seconds)
    cpu_s = time.process_time() - cpu_s
    wall_s = time.perf_counter() - began_s
    times = sorted(took for _, took, _ in load.done)
    within = sum(1 for end, _, _ in load.done if end <= began_s + seconds)
    return {
        "jobs_per_s": within / seconds,
        "p50_ms": quantile(times, 0.5) * 1000,
        "p99_ms": quantile(times, 0.99) * 1000,
        "polls_per_job": sum(looks for _, _, looks in load.done) / len(load.done),
        "all_jobs": len(load.done),
        "load_cpu_s": cpu_s,
        "load_cpu_share": cpu_s / wall_s,
        "load_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=list(MODES))
    parser.add_argument("url")
    parser.add_argument("--key", default="")
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    asked = parser.parse_args()
    print(
        json.dumps(measure(asked.mode, asked.url, key=asked.key, concurrency=asked.concurrency, seconds=asked.seconds))
    )


if __name__ == "__main__":
    main()
