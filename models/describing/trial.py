"""Which sizes a model runs with, where its file leaves them open: found by trying."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from errors import LoadError
from models.arrays import DTYPES
from models.describing import Port
from models.failures import described

#: Tried in this order for every open axis but the first, which counts rows: lengths of texts, edges of pictures.
SIZES = (16, 32, 64, 128, 224, 8, 4, 2, 1)
#: What elements are: legal as a number, as an index into a small vocabulary, and as a mask.
NUMBER, TEXT = 0.5, "example"

Run = Callable[[dict[str, Any]], object]


def sizes(ports: Sequence[Port], run: Run) -> tuple[tuple[int, ...], ...]:
    """Sizes for each input with which `run` ends well; raises LoadError where none of those tried do."""
    first: Exception | None = None
    tries = SIZES if any(-1 in port.shape for port in ports) else SIZES[:1]
    for rows, size in [*((1, size) for size in tries), *((size, size) for size in tries)]:
        tried = tuple(sized(port.shape, rows, size) for port in ports)
        try:
            run({port.name: values(port, shape) for port, shape in zip(ports, tried, strict=True)})
            return tried
        except Exception as error:  # noqa: BLE001 - whatever the library says of sizes that it does not like
            first = first or error
    told = described(first) if first else ""
    raise LoadError(f"it does not run on made-up inputs; the first try ended with {told}") from first


def sized(shape: tuple[int, ...], rows: int, size: int) -> tuple[int, ...]:
    return tuple(declared if declared != -1 else size if axis else rows for axis, declared in enumerate(shape))


def values(port: Port, shape: tuple[int, ...]) -> Any:
    if port.datatype == "BYTES":
        return np.full(shape, TEXT, dtype=object)
    dtype = DTYPES[port.datatype]
    return np.full(shape, NUMBER if dtype.kind == "f" else 1, dtype=dtype)
