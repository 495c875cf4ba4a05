"""What is wrong with a value, and where: the thorough pass over inputs that failed the quick one.

Never walks deeper than the declared shape, copies nothing large, and stops after `MAX_FAULTS`, so that
hostile nesting and a bad element behind millions of good ones cost little.
"""

import math

from errors import Fault
from models import rawdata
from models.datatypes import DATATYPES
from models.elements import elements_fit
from models.manifest import Tensor
from models.pointers import pointer

#: Faults reported for one job: enough to mend a client by, few enough to read.
MAX_FAULTS = 16
#: Elements looked at together before one by one.
STRIDE = 1024
#: Numbers that JSON cannot write, as strings: the spelling of the protobuf JSON mapping.
SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
#: JSON's words for what Python calls otherwise.
WORDS = {list: "a list", dict: "an object", str: "a string", bool: "a boolean", type(None): "null"}


class Finder:
    """Searches one value of one tensor."""

    def __init__(self, tensor: Tensor, rowed: bool, faults: list[Fault]) -> None:
        self.tensor = tensor
        self.datatype = DATATYPES[tensor.datatype]
        self.rowed = rowed
        self.faults = faults
        #: The declared sizes; a variable one becomes what was found first.
        self.sizes = list(tensor.shape)

    def search(self, value: object) -> int:
        """The value's rows; what is wrong with it is added to `faults`."""
        shape = list(self.tensor.shape)
        axes = nesting(value, len(shape) + 1)
        single = self.rowed and axes == len(shape) - 1
        if isinstance(value, dict) and self.datatype.kind != "bytes":
            self.add((), 'must be numbers, {"b64": …} or {"object": …}')
            return 1
        if axes != len(shape) and not single:
            self.add((), f"must have shape {shape}, so {len(shape)} nested lists, and has {axes}")
            return 1
        if single:
            self.walk(value, 1, ())
            return 1
        self.walk(value, 0, ())
        return len(value) if isinstance(value, list) else 1

    def walk(self, value: object, axis: int, place: tuple[int, ...]) -> None:
        """Look at one list of an axis and at what is below it; never deeper than the declared shape."""
        if axis == len(self.sizes):
            self.look([value], place[:-1], place[-1] if place else None)
        elif not isinstance(value, list):
            self.add(place, f"must be a list, not {word(value)}")
        elif not value:
            self.add(place, "must not be empty")
        elif self.sizes[axis] not in (-1, len(value)):
            ragged = " as its neighbours: the lists are ragged" if self.tensor.shape[axis] == -1 else ""
            self.add(place, f"must have {self.sizes[axis]} items{ragged}, and has {len(value)}")
        else:
            # What a variable axis holds first, every list of that axis must hold.
            self.sizes[axis] = len(value) if axis else self.sizes[axis]
            self.descend(value, axis, place)

    def descend(self, items: list[object], axis: int, place: tuple[int, ...]) -> None:
        last = axis + 1 == len(self.sizes)
        for start in range(0, len(items), STRIDE if last else 1):
            if self.full:
                return
            if last:
                self.look(items[start : start + STRIDE], place, start)
            else:
                self.walk(items[start], axis + 1, (*place, start))

    def look(self, elements: list[object], place: tuple[int, ...], start: int | None) -> None:
        """Examine elements one by one, unless all of them surely fit."""
        if elements_fit(self.datatype, elements):
            return
        for offset, element in enumerate(elements):
            if reason := self.complaint(element):
                self.add(place if start is None else (*place, start + offset), reason)
                if self.full:
                    return

    def complaint(self, element: object) -> str:
        """What is wrong with one element; empty when nothing is."""
        match self.datatype.kind:
            case "bytes":
                return bytes_complaint(element)
            case "bool":
                return "" if isinstance(element, bool) else f"must be true or false, not {word(element)}"
            case "int":
                return self.integer_complaint(element)
            case _:
                return self.float_complaint(element)

    def integer_complaint(self, element: object) -> str:
        if isinstance(element, bool) or not isinstance(element, int):
            return f"must be an integer, not {word(element)}"
        if not self.datatype.low <= element <= self.datatype.high:
            return f"is outside {self.datatype.name}: {self.datatype.low} to {self.datatype.high}"
        return ""

    def float_complaint(self, element: object) -> str:
        if isinstance(element, str) and element in SPECIAL:
            return "" if self.tensor.nan else f"must be finite, not {element}"
        if element is None and self.tensor.nan:
            return ""
        if isinstance(element, bool) or not isinstance(element, (int, float)):
            return f"must be a number, not {word(element)}"
        if isinstance(element, float) and not math.isfinite(element):
            return "" if self.tensor.nan else f"must be finite, not {element}"
        if not self.datatype.low <= element <= self.datatype.high:
            return f"is too large for {self.datatype.name}"
        return ""

    def add(self, place: tuple[int, ...], reason: str) -> None:
        self.faults.append(Fault(pointer(self.tensor.name, *place), reason))

    @property
    def full(self) -> bool:
        return len(self.faults) >= MAX_FAULTS


def bytes_complaint(element: object) -> str:
    if isinstance(element, (str, bytes)):
        return ""
    if isinstance(element, dict) and "b64" in element:
        return rawdata.encoding_complaint(element, known=("b64",))
    if isinstance(element, dict) and "object" in element:
        return "must not be a reference: one stands for a whole input, not for a row"
    return f'must be a string or {{"b64": …}}, not {word(element)}'


def nesting(value: object, limit: int) -> int:
    """Lists along the first elements, counted up to `limit`."""
    axes = 0
    while isinstance(value, list) and axes < limit:
        axes += 1
        if not value:
            break
        value = value[0]
    return axes


def word(value: object) -> str:
    return WORDS.get(type(value)) or ("a number" if isinstance(value, (int, float)) else type(value).__name__)
