"""The asynchronous client: written anew with every change of the one that blocks, and used in the same way."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from penstock import AsyncPenstock, ModelError, Penstock, StillRunning

from client.twin.__main__ import stale, tidy, written
from client.twin.colours import Colours
from client.twin.rewriting import Twin, Unclear
from client.twin.source import Module
from tests.client.desk import Desk, job, problem

#: What is read and called on the parts of a client.
PARTS = [name for name in vars(Penstock("http://farm")) if not name.startswith("_") and name != "url"]


def test_the_written_files_are_up_to_date() -> None:
    assert stale(written()) == [], "run `make client`"


@pytest.mark.parametrize("part", ["", *PARTS])
def test_both_clients_have_the_same_names_and_parameters(part: str) -> None:
    blocking, other = Penstock("http://farm"), AsyncPenstock("http://farm")
    one, twin = (getattr(blocking, part), getattr(other, part)) if part else (blocking, other)
    names = [name for name in dir(one) if not name.startswith("_")]
    assert names == [name for name in dir(twin) if not name.startswith("_")]
    for name in names:
        if callable(method := getattr(one, name)):
            awaited = getattr(twin, name)
            assert list(inspect.signature(method).parameters) == list(inspect.signature(awaited).parameters)
            iterates = inspect.isgeneratorfunction(method)
            assert inspect.isasyncgenfunction(awaited) if iterates else callable(awaited)


def ask(desk: Desk, question: Callable[[AsyncPenstock], Awaitable[Any]]) -> Any:
    async def asked() -> Any:
        async with AsyncPenstock(desk.url, "a-key", timeout_s=5) as client:
            return await question(client)

    return asyncio.run(asked())


def test_a_job_is_submitted_awaited_and_its_result_read(desk: Desk) -> None:
    desk.say(job(), 202).say(job("succeeded"))
    assert ask(desk, lambda client: client.run("echo", {"x": [1, 2]})) == {"x": [1, 2]}
    assert desk.seen[0].headers["authorization"] == "Bearer a-key"
    assert desk.seen[1].query == {"wait": "30.000"}


def test_a_lost_answer_is_asked_for_with_the_same_key(desk: Desk) -> None:
    desk.hang_up().say(b"", 502).say(job())
    assert ask(desk, lambda client: client.jobs.submit("echo", {"x": 1})).id == "job_01J"
    assert len({seen.headers["idempotency-key"] for seen in desk.seen}) == 1
    assert len(desk.seen) == 3


def test_a_failure_and_a_wait_that_ran_out_are_raised(desk: Desk) -> None:
    desk.say(job("failed", error=problem("model_error", 500, "boom"))).say(job())
    with pytest.raises(ModelError, match="boom"):
        ask(desk, lambda client: client.run("echo", {"x": 1}))
    with pytest.raises(StillRunning):
        ask(desk, lambda client: client.jobs.wait("job_01J", timeout_s=0.01))


def test_pages_are_asked_for_as_they_are_reached(desk: Desk) -> None:
    desk.say({"data": [job(id="a")], "next_cursor": "c1"}).say({"data": [job(id="b")], "next_cursor": None})

    async def read(client: AsyncPenstock) -> list[str]:
        return [job.id async for job in client.jobs.list()]

    assert ask(desk, read) == ["a", "b"]


def test_files_go_and_come_in_pieces(desk: Desk, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4000
    (tmp_path / "a.bin").write_bytes(data)
    desk.say({"id": "obj_1", "bytes": len(data)}).say(data)
    assert ask(desk, lambda client: client.objects.upload(tmp_path / "a.bin")).id == "obj_1"
    assert desk.seen[0].body == data
    assert "transfer-encoding" not in desk.seen[0].headers
    ask(desk, lambda client: client.objects.download("obj_1", tmp_path / "b.bin"))
    assert (tmp_path / "b.bin").read_bytes() == data


def test_a_large_input_is_uploaded_first(desk: Desk) -> None:
    desk.say({"id": "obj_1", "bytes": 1}).say(job(), 202)
    ask(desk, lambda client: client.jobs.submit("ocr", {"image": bytes(2**20 + 1)}))
    assert desk.seen[1].json()["inputs"] == {"image": {"object": "obj_1"}}


def test_many_tasks_share_one_client(desk: Desk) -> None:
    desk.say(job("succeeded"))

    async def many(client: AsyncPenstock) -> int:
        return len(await asyncio.gather(*(client.run("echo", {"x": n}) for n in range(20))))

    assert ask(desk, many) == 20


def twin(source: str) -> str:
    """The twin of a module that sits on the transport, as far as it waits."""
    home = Path(__file__).resolve().parents[2] / "client/src/penstock"
    transport = Module.read("penstock.transport", home / "transport.py")
    retry = Module.read("penstock.retry", home / "retry.py")
    text = f"from penstock.transport import Transport\n{source}".encode()
    module = Module.of("penstock.new", text)
    modules = {one.name: one for one in (transport, retry, module)}
    colours = Colours(modules, Module.read("penstock.streams", home / "aio/streams.py"))
    written = tidy(Twin(module, colours, set(modules)).text())
    return written[written.index("def ") :] if "async def" not in written else written[written.index("async def") :]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "def f(t: Transport):\n    return t.send('GET', '/').json()\n",
            'async def f(t: AsyncTransport):\n    return (await t.send("GET", "/")).json()\n',
        ),
        (
            "def f(t: Transport) -> Iterator[int]:\n    t.send('GET', '/')\n    yield from [1]\n",
            "async def f(t: AsyncTransport) -> AsyncIterator[int]:\n"
            '    await t.send("GET", "/")\n    for yielded in [1]:\n        yield yielded\n',
        ),
        (
            "def f(t: Transport):\n    def g():\n        return t.send('GET', '/')\n    return [g() for _ in '12']\n",
            "async def f(t: AsyncTransport):\n    async def g():\n"
            '        return await t.send("GET", "/")\n\n    return [await g() for _ in "12"]\n',
        ),
    ],
)
def test_waiting_is_told_by_what_a_call_leads_to(source: str, expected: str) -> None:
    assert twin(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "def f(t: Transport):\n    t.send('', '')\n    return list(t.send('GET', '/') for _ in '12')\n",
        "def f(t: Transport) -> 'Iterable[int]':\n    t.send('GET', '/')\n    yield 1\n",
    ],
)
def test_what_has_no_twin_is_refused(source: str) -> None:
    with pytest.raises(Unclear):
        twin(source)
