"""Which rows of a native column may not fit, in a few passes: `models.columns` looks at those one by one.

Only speed depends on it: a row that is overlooked here is still found, by halves.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from models.arrays import DTYPES, Array
from models.datatypes import DATATYPES
from models.fromarrow import Column, listed, single
from models.manifest import Tensor


def doubtful(tensor: Tensor, column: Column) -> Array:
    """Positions of rows with nulls, lists of a wrong length, or elements outside the tensor's datatype."""
    array = single(column)
    marks = np.zeros(len(array), dtype=bool)
    owners = np.arange(len(array))
    sizes = list(tensor.shape[1:])
    while True:
        if isinstance(array.type, pa.BaseExtensionType):
            array = array.storage
            continue
        if types.is_dictionary(array.type):
            array = array.dictionary_decode()
        mark(marks, owners, array.is_null())
        if not listed(array.type):
            break
        size = sizes.pop(0) if len(sizes) > 1 or len(tensor.shape) == 2 else -1
        lengths = pc.list_value_length(array)
        mark(marks, owners, pc.equal(lengths, 0) if size == -1 else pc.not_equal(lengths, size))
        owners = owners[pc.list_parent_indices(array).to_numpy()]
        array = pc.list_flatten(array)
    if tensor.datatype != "BYTES" and not types.is_decimal(array.type) and not array.null_count:
        marks[owners[outside(tensor, array.to_numpy(zero_copy_only=False))]] = True
    return np.flatnonzero(marks)


def mark(marks: Array, owners: Array, wrong: pa.Array) -> None:
    marks[owners[wrong.fill_null(True).to_numpy(zero_copy_only=False)]] = True


def outside(tensor: Tensor, values: Array) -> Array:
    datatype = DATATYPES[tensor.datatype]
    wrong: Array = np.zeros(len(values), dtype=bool)
    if datatype.kind == "int":
        wrong = (values < datatype.low) | (values > datatype.high)
    elif datatype.kind == "float" and not tensor.nan:
        with np.errstate(over="ignore"):
            wrong = ~np.isfinite(values.astype(DTYPES[tensor.datatype]))
    return wrong
