"""Cells of CSV as values of the model's inputs."""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from models.datatypes import DATATYPES
from models.manifest import Tensor
from tasks.scoring import stacking
from tasks.scoring.plan import Plan


class Cells:
    """What each column becomes."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        #: Input -> what its columns are, where they are numbers.
        self.numbers: dict[str, pa.DataType] = {}
        texts = []
        for tensor in plan.inputs:
            source = plan.sources[tensor.name]
            if not isinstance(source, tuple) and len(tensor.shape) > 1:
                texts.append(tensor.name)
            elif tensor.datatype != "BYTES":
                self.numbers[tensor.name] = number(tensor)
        #: Inputs whose cells are lists.
        self.texts = frozenset(texts)
        #: As what a column is read: as it is written where it is passed through, or is two things.
        self.types = {name: self._type(name) for name in plan.columns}

    def _type(self, column: str) -> pa.DataType:
        kinds = {self.numbers.get(name, pa.string()) for name in self.plan.sources if column in self._columns(name)}
        passed = column in self.plan.keep or column == self.plan.custom_id
        return pa.string() if passed or len(kinds) != 1 else kinds.pop()

    def _columns(self, name: str) -> tuple[str, ...]:
        source = self.plan.sources[name]
        return source if isinstance(source, tuple) else (source,)

    def inputs(self, columns: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
        """The model's inputs; raises ArrowInvalid where a cell is no number."""
        inputs = {}
        for name, source in self.plan.sources.items():
            kind = self.numbers.get(name, pa.string())
            cells = [converted(columns[column], kind) for column in self._columns(name)]
            inputs[name] = stacking.stacked(cells) if isinstance(source, tuple) else cells[0]
        return inputs

    def custom_ids(self, columns: Mapping[str, pa.Array]) -> pa.Array | None:
        return nulled(columns[self.plan.custom_id]) if self.plan.custom_id else None

    def complaints(self, columns: Mapping[str, pa.Array]) -> Iterator[tuple[int, str]]:
        """Positions of rows with a cell that is no number, and why."""
        for name, kind in self.numbers.items():
            for column in self._columns(name):
                for position in bad(columns[column], kind):
                    text = columns[column][position].as_py()
                    yield position, f"column {column!r} holds {text[:80]!r}, which is no {kind}"


def number(tensor: Tensor) -> pa.DataType:
    kind = DATATYPES[tensor.datatype].kind
    if kind == "bool":
        return pa.bool_()
    if kind == "int":
        return pa.uint64() if tensor.datatype == "UINT64" else pa.int64()
    return pa.float64() if tensor.datatype == "FP64" else pa.float32()


def converted(array: pa.Array, kind: pa.DataType) -> pa.Array:
    return array if array.type == kind else nulled(pc.utf8_trim_whitespace(array)).cast(kind)


def nulled(array: pa.Array) -> pa.Array:
    """Empty cells as null."""
    return pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.string()), array)


def bad(array: pa.Array, kind: pa.DataType) -> Sequence[int]:
    """Positions whose cell cannot be converted, by halves."""
    found: list[int] = []

    def search(start: int, length: int) -> None:
        try:
            converted(array.slice(start, length), kind)
        except pa.ArrowInvalid:
            if length == 1:
                found.append(start)
                return
            search(start, length // 2)
            search(start + length // 2, length - length // 2)

    search(0, len(array))
    return found
