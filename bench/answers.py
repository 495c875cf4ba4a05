"""Whether an answer is right: every job's is held against what the model gave in process."""

import json
from collections.abc import Sequence

from bench.clients import Answer, LoadError

#: What stands before a job's outputs.
PENSTOCK, PLAIN = b'"outputs":', b'"result":'
_decoder = json.JSONDecoder()


class Check:
    """Compares outputs by number once, and later ones with the text that was right before."""

    def __init__(self, output: str, expected: Sequence[Sequence[float]], tolerance: float) -> None:
        self._output = output
        self._expected = expected
        self._tolerance = tolerance
        #: By input: the last text of outputs that was right.
        self._right: dict[int, bytes] = {}

    def penstock(self, which: int, answer: Answer) -> None:
        """Raises LoadError where the outputs are not those of input `which`."""
        self._check(which, answer, PENSTOCK)

    def plain(self, which: int, answer: Answer) -> None:
        self._check(which, answer, PLAIN)

    def _check(self, which: int, answer: Answer, before: bytes) -> None:
        # Most answers repeat an earlier one to the byte, and a search costs a hundredth of reading a thousand numbers.
        known = self._right.get(which)
        if known is not None and known in answer.body:
            return
        text = value_after(answer.body, before)
        value = _decoder.decode(text)
        numbers = flat(value[self._output] if before is PENSTOCK else value)
        expected = self._expected[which]
        if len(numbers) != len(expected):
            raise LoadError(f"{len(numbers)} numbers came back for input {which}, not {len(expected)}")
        apart = [abs(got - wanted) for got, wanted in zip(numbers, expected, strict=True)]
        # Written so that NaN, which is not less than anything, counts as wrong.
        wrong = [one for one in apart if not one <= self._tolerance]
        if wrong:
            raise LoadError(f"the outputs for input {which} are wrong by {max(wrong):g}: {text[:200]}")
        self._right[which] = before + text.encode()


def value_after(body: bytes, before: bytes) -> str:
    """The text of the JSON value that stands there."""
    at = body.find(before)
    if at < 0:
        raise LoadError(f"no {before.decode()} in {body[:500].decode(errors='replace')}")
    text = body[at + len(before) :].decode().lstrip()
    _, end = _decoder.raw_decode(text)
    return text[:end]


def flat(value: object) -> list[float]:
    if isinstance(value, list):
        return [number for item in value for number in flat(item)]
    if isinstance(value, int | float):
        return [float(value)]
    raise LoadError(f"{value!r} is no number")


def demand(answer: Answer, status: int, part: bytes) -> None:
    """Raises LoadError unless the answer has that status and holds that text."""
    if answer.status != status or part not in answer.body:
        raise LoadError(f"{answer.status} {answer.body[:500].decode(errors='replace')}")


def unfinished(body: bytes) -> bool:
    return b'"status":"queued"' in body or b'"status":"running"' in body


def pending(body: bytes) -> bool:
    """The same of the plain app's jobs, in Celery's words."""
    return b'"status":"PENDING"' in body or b'"status":"STARTED"' in body


def quoted(body: bytes, start: bytes) -> bytes:
    """What follows `start`, as far as the next quotation mark."""
    begin = body.index(start) + len(start)
    return body[begin : body.index(b'"', begin)]


def last_id(body: bytes) -> bytes:
    """The id of the last job that is listed."""
    begin = body.rindex(b'"job":{"id":"') + 13
    return body[begin : body.index(b'"', begin)]
