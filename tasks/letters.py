"""Which dead letters are meant: the filter that lists them and that replays them."""

from typing import Any, NamedTuple

import msgspec

from errors import PenstockError
from storage.deadletters import NEVER_MS, Letter
from storage.job import Job, Status
from storage.jobs import JobStore
from tasks.message import Message, decode

#: Codes of errors are short words.
UNKNOWN = "unknown"


class Wanted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is left out, or empty, means any."""

    ids: tuple[str, ...] = ()
    model: str = ""
    version: str = ""
    code: str = ""
    since_ms: int = 0
    until_ms: int = NEVER_MS
    #: Keys to the text of their value.
    metadata: dict[str, str] = {}

    def matches(self, read: "Read") -> bool:
        message = read.message
        return (
            (not self.model or message.model == self.model)
            and (not self.version or message.version == self.version)
            and (not self.code or read.code == self.code)
            and all(text_of(message.metadata.get(key)) == text for key, text in self.metadata.items())
        )


class Read(NamedTuple):
    """A dead letter with its record."""

    letter: Letter
    job: Job
    message: Message
    code: str


_any = msgspec.json.Decoder()


def read(jobs: JobStore, letters: list[Letter]) -> list[Read]:
    """The letters whose jobs are failed ones still, and can be read."""
    found = zip(letters, jobs.get_all([letter.id for letter in letters]), strict=True)
    return [one for letter, job in found if (one := opened(letter, job))]


def opened(letter: Letter, job: Job | None) -> Read | None:
    if job is None or job.status is not Status.FAILED or job.erased or not job.message or job.scoring:
        return None
    try:
        message = decode(job.message)
    # Nobody can run it either.
    except PenstockError:
        return None
    return Read(letter, job, message, code_of(job.error))


def code_of(error: bytes | None) -> str:
    """The code in a problem document."""
    try:
        problem: Any = _any.decode(error or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return UNKNOWN
    return str(problem.get("code", UNKNOWN)) if isinstance(problem, dict) else UNKNOWN


def text_of(value: object) -> str | None:
    """A metadata value as a query writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)
