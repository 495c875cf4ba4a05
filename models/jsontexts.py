"""Columns of JSON texts as a model's rows: a row's value is written as in a job's `inputs`."""

from typing import Any

import msgspec
import numpy as np

from errors import Fault, NotFound
from models import arrays, signature
from models.arrays import Array, Fetch, Rows
from models.fromarrow import Column, Unfit
from models.manifest import Tensor

_decode = msgspec.json.Decoder().decode


def json_rows(tensor: Tensor, column: Column, fetch: Fetch) -> Rows:
    """A column's rows; raises Unfit."""
    texts = column.to_pylist()
    if None in texts:
        raise Unfit("is null")
    values = parsed(texts)
    # One pass over all of it; rows that differ in shape, and base64 and references, are looked at one by one.
    if plain_rows(values) and signature.nested_rows(tensor, values, rowed=False) is not None:
        return arrays.rows_of(tensor, values, False, fetch)
    return joined([row_of(tensor, value, fetch) for value in values])


def parsed(texts: list[str]) -> list[Any]:
    try:
        values: list[Any] = _decode("[" + ",".join(texts) + "]")
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise Unfit(f"is not JSON: {error}") from error
    if len(values) != len(texts):
        raise Unfit("is not one JSON value in each row")
    return values


def plain_rows(values: list[Any]) -> bool:
    return bool(values) and dict not in set(map(type, values))


def row_of(tensor: Tensor, value: Any, fetch: Fetch) -> Rows:
    """One row, by the rules for a job of one row: with its axis or without."""
    faults: list[Fault] = []
    count = signature.count_rows(tensor, value, True, faults)
    if faults:
        raise Unfit(said(tensor, faults[0]))
    if count not in (None, 1):
        raise Unfit(f"must be one row, and has {count}")
    try:
        rows = arrays.rows_of(tensor, value, True, fetch)
    except NotFound as error:
        raise Unfit(f"names an object that is not there: {error.detail}") from error
    if len(rows) != 1:
        raise Unfit(f"must be one row, and has {len(rows)}")
    return rows


def said(tensor: Tensor, fault: Fault) -> str:
    """A fault inside a row, to be read after the input's name."""
    inside = fault.pointer.removeprefix("#/inputs/").partition("/")[2]
    return f"{fault.detail} (at /{inside})" if inside else fault.detail


def joined(rows: list[Rows]) -> Rows:
    """Single rows as one; a list where they are not arrays of one shape."""
    found: list[Array] = [row for row in rows if isinstance(row, np.ndarray)]
    if len(found) == len(rows) and len({row.shape for row in found}) == 1:
        return np.concatenate(found)
    return [row[0] for row in rows]
