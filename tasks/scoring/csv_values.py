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
        #: Column -> what it is for the model, where it is numbers.
        self.numbers: dict[str, pa.DataType] = {}
        texts = []
        for tensor in plan.inputs:
            source = plan.sources[tensor.name]
            if not isinstance(source, tuple) and len(tensor.shape) > 1:
                texts.append(tensor.name)
            elif tensor.datatype != "BYTES":
                self.numbers |= dict.fromkeys(source if isinstance(source, tuple) else (source,), number(tensor))
        #: Inputs whose cells are lists.
        self.texts = frozenset(texts)
        passed = {*plan.keep, plan.custom_id}
        #: As what a column is read: one that is passed through, as it is written.
        self.types = {
            name: pa.string() if name in passed else self.numbers.get(name, pa.string()) for name in plan.columns
        }

    def inputs(self, columns: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
        """The model's inputs; raises ArrowInvalid where a cell is no number."""
        numbers = {name: converted(columns[name], kind) for name, kind in self.numbers.items()}
        return stacking.inputs(self.plan, {**columns, **numbers})

    def custom_ids(self, columns: Mapping[str, pa.Array]) -> pa.Array | None:
        return nulled(columns[self.plan.custom_id]) if self.plan.custom_id else None

    def complaints(self, columns: Mapping[str, pa.Array]) -> Iterator[tuple[int, str]]:
        """Positions of rows with a cell that is no number, and why."""
        for name, kind in self.numbers.items():
            for position in bad(columns[name], kind):
                text = columns[name][position].as_py()
                yield position, f"column {name!r} holds {text[:80]!r}, which is no {kind}"


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
