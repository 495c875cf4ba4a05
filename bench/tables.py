"""The tables that are scored offline, and the perceptron that scores one of them: made from seeds, always the same."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper

from bench.workloads import LONGEST, SHORTEST, VOCABULARY

SEED = 64
WIDTH, HIDDEN, CLASSES = 64, 256, 16
#: Rows made and written at a time: a row group.
CHUNK = 65_536
OPSET = 17


def mlp(seed: int = SEED) -> Any:
    """float32 `x` [n, 64] -> float32 `y` [n, 16], as ONNX."""
    random = np.random.default_rng(seed)

    def weight(name: str, *shape: int) -> Any:
        return numpy_helper.from_array((random.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32), name)

    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"]),
    ]
    weights = [weight("w1", WIDTH, HIDDEN), weight("b1", HIDDEN), weight("w2", HIDDEN, CLASSES), weight("b2", CLASSES)]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTH])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", CLASSES])
    graph = helper.make_graph(nodes, "mlp", [x], [y], initializer=weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def write_mlp(file: Path) -> None:
    onnx.save(mlp(), str(file))


def numbers(file: Path, rows: int) -> Path:
    """A Parquet file of `rows` rows: `custom_id`, and 64 float32 in the list column `x`."""
    schema = pa.schema([("custom_id", pa.string()), ("x", pa.list_(pa.float32(), WIDTH))])
    return written(file, schema, (numbers_of(start, min(CHUNK, rows - start)) for start in range(0, rows, CHUNK)))


def numbers_of(start: int, count: int) -> dict[str, Any]:
    values = np.random.default_rng([SEED, start]).standard_normal(count * WIDTH, dtype=np.float32)
    return {
        "custom_id": pa.array([f"row-{number}" for number in range(start, start + count)]),
        "x": pa.FixedSizeListArray.from_arrays(pa.array(values), WIDTH),
    }


def sentences(file: Path, rows: int) -> Path:
    """A Parquet file of `rows` sentences in the column `text`, of 14 to 22 words, each different."""
    random = np.random.default_rng(SEED)
    words = VOCABULARY.split()
    lengths = random.integers(SHORTEST, LONGEST + 1, rows)
    texts = [" ".join(random.choice(words, length)) + "." for length in lengths]
    return written(file, pa.schema([("text", pa.string())]), [{"text": pa.array(texts)}])


def written(file: Path, schema: pa.Schema, chunks: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> Path:
    with pq.ParquetWriter(file, schema) as writer:
        for chunk in chunks:
            writer.write_table(pa.table(chunk, schema=schema))
    return file
