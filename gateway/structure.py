"""The shape of a JSON text, held to limits before anything is made of it.

A parser makes of a text up to twenty times its bytes (`[],[],…`), and one that calls itself ends at some depth that
depends on who called it. So what a text would become is counted in the text, and only where its raw counts leave a
doubt are its strings taken out first. A small job costs half a microsecond here, a picture as nested lists (150,000
numbers) 8 ms where parsing it takes 20.
"""

import re

from errors import Fault, InvalidInput, MalformedBody

#: Levels of lists and objects.
MAX_DEPTH = 64
#: Lists and objects.
MAX_CONTAINERS = 1_000_000
#: Members of objects.
MAX_MEMBERS = 100_000
#: Strings, names of members included.
MAX_STRINGS = 1_000_000
#: Items of lists and members of objects.
MAX_VALUES = 4_000_000

#: Bytes that cannot hold too much of anything.
SMALL = MAX_MEMBERS
#: What is counted, by which marks, and how much of it there may be.
LIMITS = (
    ("lists and objects", b"[{", MAX_CONTAINERS),
    ("members of objects", b":", MAX_MEMBERS),
    ("values", b",", MAX_VALUES),
)

#: A string, or one that never ends. Possessive (`++`): a byte is looked at once, whatever comes after it.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
#: Lists and objects are the same here.
_AS_LISTS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))
_NO_MARK = bytes(set(range(256)) - set(b"[]{},"))
_INNERMOST = re.compile(rb"\[[^\[\]]*+\]")


def check(body: bytes, place: str = "#") -> None:
    """Raises MalformedBody for a text that is nested too deeply, InvalidInput for one with too much in it."""
    deep = body.count(b"[") + body.count(b"{") > MAX_DEPTH
    if not deep and len(body) <= SMALL:
        return
    if body.count(b'"') > 2 * MAX_STRINGS:
        raise too_many("strings", MAX_STRINGS, place)
    doubts = [(what, marks, most) for what, marks, most in LIMITS if count(body, marks) > most]
    if not doubts and not deep:
        return
    bare = _STRING.sub(b"", body)
    for what, marks, most in doubts:
        if count(bare, marks) > most:
            raise too_many(what, most, place)
    if deep and too_deep(bare):
        where = "" if place == "#" else f" at {place}"
        raise MalformedBody(
            f"the body is nested deeper than {MAX_DEPTH} levels{where} (from byte {first_too_deep(body)})"
        )


def count(text: bytes, marks: bytes) -> int:
    return sum(map(text.count, marks))


def too_deep(bare: bytes) -> bool:
    """Whether a text without strings is nested too deeply. One that is no JSON is left to the parser, mostly."""
    left = bare.translate(_AS_LISTS, _NO_BRACKET)
    for _ in range(MAX_DEPTH):
        # Each round takes away the innermost lists.
        shorter = left.replace(b"[]", b"")
        if len(shorter) == len(left):
            break
        left = shorter
    return bool(left) and (b"[]" in left or b"[" * (MAX_DEPTH + 1) in left)


def first_too_deep(body: bytes) -> int:
    """Where the first list stands that is one too deep; 0 where there is none."""
    depth = 0
    for found in re.finditer(_STRING.pattern + rb"|[\[\]{}]", body, re.DOTALL):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(found[0], 0)
        if depth > MAX_DEPTH:
            return found.start()
    return 0


def items(body: bytes) -> int:
    """How many items the list has that a checked text is; a number without meaning for a text that is none."""
    left = _STRING.sub(b"", body).translate(_AS_LISTS, _NO_MARK)[1:-1]
    while (shorter := _INNERMOST.sub(b"", left)) != left:
        left = shorter
    return left.count(b",") + 1


def too_many(what: str, most: int, place: str) -> InvalidInput:
    detail = f"has more than {most} {what}; send large inputs as files, objects or base64"
    return InvalidInput(f"the body {detail}", faults=[Fault(place, detail)])
