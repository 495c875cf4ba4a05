"""What rows weigh: bytes of their values, whatever memory lies around them. A row weighs the same in any table."""

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from models.columns import listed, textual


def weight_of_rows(table: pa.Table) -> int:
    return sum(weight(array) for column in table.columns for array in column.chunks)


def weight(array: pa.Array) -> int:
    if listed(array.type):
        return 4 * len(array) + weight(array.flatten())
    if types.is_struct(array.type):
        return sum(weight(field) for field in array.flatten())
    if textual(array.type) or types.is_binary(array.type) or types.is_large_binary(array.type):
        return 4 * len(array) + (pc.sum(pc.binary_length(array)).as_py() or 0)
    return len(array) * 8
