"""Native columns that make up one input: several side by side are one list in each row."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from pyarrow import types

from tasks.scoring.plan import Plan


def inputs(plan: Plan, columns: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """The model's inputs of native columns; raises ValueError for columns that cannot stand in one list."""
    return {
        name: stacked([columns[column] for column in source]) if isinstance(source, tuple) else columns[source]
        for name, source in plan.sources.items()
    }


def stacked(arrays: Sequence[pa.Array]) -> pa.Array:
    """One fixed-size list of each row's values."""
    kind = common([array.type for array in arrays])
    arrays = [array.cast(kind) for array in arrays]
    rows, count = len(arrays[0]), len(arrays)
    if types.is_primitive(kind) and not types.is_boolean(kind) and not any(array.null_count for array in arrays):
        flat = np.empty((rows, count), dtype=kind.to_pandas_dtype())
        for position, array in enumerate(arrays):
            flat[:, position] = array.to_numpy()
        return pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1), kind), count)
    order = np.arange(rows * count).reshape(count, rows).T.reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.concat_arrays(arrays).take(pa.array(order)), count)


def common(kinds: Sequence[pa.DataType]) -> pa.DataType:
    """A type that holds the values of all."""
    first = kinds[0]
    if all(kind == first for kind in kinds):
        return first
    if all(types.is_integer(kind) for kind in kinds):
        return pa.int64()
    if all(types.is_integer(kind) or types.is_floating(kind) for kind in kinds):
        return pa.float64()
    raise ValueError(f"columns of {', '.join(sorted({str(kind) for kind in kinds}))} cannot make up one input")
