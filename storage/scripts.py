"""The Lua scripts beside this file, run by their digest, many in one round trip."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError, ResponseError

from storage import keys
from storage.connection import Client

FOLDER = Path(__file__).with_name("lua")
#: Scripts that end a job or a scoring, or undo its end, begin with the shared lines of terminal.lua.
ENDING = frozenset(
    {"claim", "finish", "cancel", "requeue", "expire", "erase", "retry", "fail", "revive", "scoring_cancel",
     "scoring_erase", "scoring_advance"}
)  # fmt: skip

#: Keys, and beginnings of keys, that scripts use beside those they are given.
NAMES = (
    f'local OUTBOX, SUBSCRIBERS = "{keys.OUTBOX}", "{keys.SUBSCRIBERS}"\n'
    f'local IN_FLIGHT, FAILED = "{keys.IN_FLIGHT}", "{keys.failed_jobs("")}"\n'
    f'local SCORING = "{keys.scoring("")}"\n'
    f'local WAITING, WORKER, GONE = "{keys.waiting("")}", "{keys.worker("")}", "{keys.gone("")}"\n'
)


class Call(NamedTuple):
    script: str
    keys: Sequence[str]
    args: Sequence[str | bytes | int | float]


def _source(name: str) -> str:
    text = (FOLDER / f"{name}.lua").read_text()
    return NAMES + ((FOLDER / "terminal.lua").read_text() if name in ENDING else "") + text


SOURCES = {path.stem: _source(path.stem) for path in sorted(FOLDER.glob("*.lua")) if path.stem != "terminal"}
DIGESTS = {name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in SOURCES.items()}


class Scripts:
    """Runs scripts by SHA-1 and loads them when the server does not know them (a new or restarted server)."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def run(self, call: Call) -> Any:
        command = ("EVALSHA", DIGESTS[call.script], len(call.keys), *call.keys, *call.args)
        try:
            return self._client.execute_command(*command)
        except NoScriptError:
            self._load()
            return self._client.execute_command(*command)

    def run_all(self, calls: Iterable[Call]) -> list[Any]:
        """Every call's answer, in order, in one round trip; each call is atomic, the whole is not."""
        calls = list(calls)
        if len(calls) == 1:
            return [self.run(calls[0])]
        answers = self._pipeline(calls)
        unknown = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            self._load()
            for index, answer in zip(unknown, self._pipeline([calls[i] for i in unknown]), strict=True):
                answers[index] = answer
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise answer
        return answers

    def _pipeline(self, calls: Sequence[Call]) -> list[Any]:
        return self._client.execute_all(
            [("EVALSHA", DIGESTS[call.script], len(call.keys), *call.keys, *call.args) for call in calls]
        )

    def _load(self) -> None:
        pipe = self._client.pipeline(transaction=False)
        for text in SOURCES.values():
            pipe.script_load(text)
        pipe.execute()
