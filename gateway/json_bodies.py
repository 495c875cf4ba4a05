"""JSON from clients: what is malformed, with its position, and what does not fit, with its JSON pointer."""

import re
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from errors import Fault, InvalidInput, MalformedBody
from gateway import structure

T = TypeVar("T")

#: How msgspec says where it met a wrong value: `what - at `$.a[0]``.
_PLACE = re.compile(r"(?P<what>.*?)(?: - at `(?:key in )?\$(?P<path>[^`]*)`)?", re.DOTALL)
_FIELD = re.compile(r"(?:unknown|required) field `(?P<name>.*)`", re.DOTALL)
_STEP = re.compile(r"\.([A-Za-z_]\w*)|\[(\d+)\]")

anything: "msgspec.json.Decoder[Any]" = msgspec.json.Decoder()


def read_whole(body: bytes | msgspec.Raw, decoder: "msgspec.json.Decoder[T]", *, place: str = "#") -> T:
    """As `read_json`, for a text that is seen for the first time: it is held to the limits of its structure first."""
    # What is raw is a part of a text that was.
    if isinstance(body, bytes):
        structure.check(body, place)
    return read_json(body, decoder, place=place)


def read_json(body: bytes | msgspec.Raw, decoder: "msgspec.json.Decoder[T]", *, place: str = "#") -> T:
    """Decode `body`, which stands at the pointer `place`; raises MalformedBody or InvalidInput."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        fault = located(str(error), place)
        raise InvalidInput(f"{fault.pointer}: {fault.detail}", faults=[fault]) from error
    except msgspec.DecodeError as error:
        raise malformed(str(error) or "no JSON", body, place) from error
    except UnicodeDecodeError as error:
        raise malformed(f"a string is no UTF-8: {error.reason}", body, place) from error
    except RecursionError as error:
        raise malformed("it is nested too deeply", body, place) from error


def malformed(reason: str, body: bytes | msgspec.Raw, place: str) -> MalformedBody:
    """The error for a text that is no JSON; the parser says the position unless the text just ended."""
    where = "" if place == "#" else f" at {place}"
    if "truncated" in reason:
        reason = f"the text ends too early (byte {len(memoryview(body))})"
    return MalformedBody(f"the body is not JSON{where}: {reason.removeprefix('JSON is malformed: ')}")


def located(text: str, place: str = "#") -> Fault:
    """A validation error of msgspec as a fault with a JSON pointer (RFC 6901, fragment form)."""
    match = _PLACE.fullmatch(text)
    what, path = (match["what"], match["path"] or "") if match else (text, "")
    steps = [name or index for name, index in _STEP.findall(path)]
    if field := _FIELD.search(what):
        steps.append(field["name"])
        what = "is unknown" if "unknown field" in what else "is missing"
    return Fault(place + "".join("/" + escaped(step) for step in steps), what.replace("`", "'"))


def escaped(step: str) -> str:
    """One step of a pointer; a long one is cut."""
    return quote(step[:80].replace("~", "~0").replace("/", "~1"), safe="~!$&'()*+,;=:@", errors="replace")
