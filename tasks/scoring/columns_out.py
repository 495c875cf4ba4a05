"""The columns of an output, by the names that users see."""

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from models import columns
from models.manifest import Tensor
from storage.scoring import Spec
from tasks.scoring.plan import tensors


class Column(NamedTuple):
    #: In the shards' files, and in the output.
    inside: str
    name: str
    #: Of shards' files.
    type: pa.DataType
    #: Whether its values are JSON texts in the shards' files.
    json: bool = False
    #: Whether they stay so in an output that has types: an output of datatype JSON may be anything.
    stays: bool = False
    #: Lists around the values of such a column.
    axes: int = 0


def columns_of(spec: Spec, schema: pa.Schema) -> list[Column]:
    """The output's columns, in the order of the shards' files."""
    outputs = {columns.OUT + tensor.name: tensor for tensor in tensors(spec)[1]}
    return [column_of(field, outputs.get(field.name)) for field in schema]


def column_of(field: pa.Field, tensor: Tensor | None) -> Column:
    json = columns.is_json(field)
    name = field.name
    for prefix in (columns.KEEP, columns.OUT):
        name = name.removeprefix(prefix) if field.name.startswith(prefix) else name
    if tensor is None or not json:
        return Column(field.name, name, field.type, json)
    return Column(field.name, name, field.type, json, tensor.datatype == "JSON", len(tensor.shape) - 1)


def schema_without_rows(spec: Spec, kept: Sequence[str]) -> pa.Schema:
    """For an output of which there is no shard."""
    keep = [pa.field(columns.KEEP + name, pa.string()) for name in kept]
    return pa.schema([pa.field(columns.ROW, pa.int64()), *keep, *columns.output_schema(tensors(spec)[1])])
