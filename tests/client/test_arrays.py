"""Arrays, tensors, columns, tables and pictures as inputs: real numpy, torch, pandas, polars, Arrow and PIL."""

import base64
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa
import pytest
import torch
from penstock import InvalidInput, Job, NotReady, Penstock
from penstock.arrays import npy
from penstock.inputs import INLINE_ARRAY_BYTES, INLINE_BYTES, encode_inputs
from penstock.results import DTYPES, as_numpy
from PIL import Image

from models.datatypes import DATATYPES
from models.manifest import Tensor
from models.npy import read
from tests.client.desk import Desk, job

NUMERIC = [name for name, datatype in DATATYPES.items() if datatype.size]


class Shelf:
    """Takes uploads."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    def __call__(self, source: bytes | Path) -> str:
        assert isinstance(source, bytes)
        self.kept.append(source)
        return f"obj_{len(self.kept)}"


def one(value: Any, shelf: Shelf | None = None) -> Any:
    """A value as it travels, which JSON must be able to say."""
    return json.loads(json.dumps(encode_inputs({"x": value}, shelf or Shelf())["x"], allow_nan=False))


@pytest.mark.parametrize("datatype", NUMERIC)
def test_small_arrays_of_every_datatype_are_lists(datatype: str) -> None:
    array = np.array([[0, 1], [1, 0]], dtype=DTYPES[datatype])
    assert one(array) == [[0, 1], [1, 0]]
    assert type(one(array)[0][0]) is type(array.tolist()[0][0])


@pytest.mark.parametrize("datatype", NUMERIC)
def test_large_arrays_of_every_datatype_are_npy_files_that_the_farm_reads(datatype: str) -> None:
    shelf = Shelf()
    array = (np.arange(INLINE_ARRAY_BYTES * 2) % 100).reshape(-1, 4).astype(DTYPES[datatype])
    assert one(array, shelf) == {"object": "obj_1"}
    back = read(Tensor(name="x", datatype=datatype, shape=(-1, 4)), shelf.kept[0], rowed=True)
    assert (back.dtype, back.tolist()) == (array.dtype, array.tolist())


@pytest.mark.parametrize(
    "array",
    [np.zeros((3, 0)), np.float32(1.5).reshape(()), np.arange(6).reshape(2, 3).T, np.arange(4, dtype=">f8"),
     np.asfortranarray(np.arange(6.0).reshape(2, 3))],
)  # fmt: skip
def test_npy_files_are_numpys_own(array: Any) -> None:
    back = np.load(io.BytesIO(npy(array)), allow_pickle=False)
    assert (back.dtype, back.shape, back.tolist()) == (array.dtype, array.shape, array.tolist())


def test_what_json_cannot_say_goes_as_a_file_and_the_model_decides() -> None:
    for value in (np.array([1.0, np.nan]), np.array([np.inf, 1.0]), pl.Series([1.0, float("nan")])):
        shelf = Shelf()
        assert one(value, shelf) == {"object": "obj_1"}
        assert np.load(io.BytesIO(shelf.kept[0])).tolist() == pytest.approx(np.array(value).tolist(), nan_ok=True)


def test_arrays_of_text_and_bytes_are_lists_of_them() -> None:
    assert one(np.array(["a", "b"])) == ["a", "b"]
    assert one(np.array(["a", None], dtype=object)) == ["a", None]
    assert one(np.array([b"abc"])) == [{"b64": "YWJj"}]


def test_tensors_on_the_cpu_are_arrays() -> None:
    assert one(torch.tensor([[1, 2]])) == [[1, 2]]
    assert one(torch.tensor([1.5], requires_grad=True)) == [1.5]
    assert one(torch.tensor([1.5], dtype=torch.bfloat16)) == [1.5]
    assert one([torch.tensor(3), torch.tensor([True])]) == [3, [True]]
    shelf = Shelf()
    assert one(torch.zeros(INLINE_ARRAY_BYTES), shelf) == {"object": "obj_1"}


@pytest.mark.parametrize("library", [pd, pl])
def test_columns_are_lists(library: Any) -> None:
    assert one(library.Series([1, 2])) == [1, 2]
    assert one(library.Series([1.5, 2])) == [1.5, 2]
    assert one(library.Series([True, False])) == [True, False]
    assert one(library.Series(["a", "b"])) == ["a", "b"]
    assert one(library.Series([[1.0, 2.0], [3.0, 4.0]])) == [[1.0, 2.0], [3.0, 4.0]]
    shelf = Shelf()
    assert one(library.Series(range(INLINE_ARRAY_BYTES)), shelf) == {"object": "obj_1"}


@pytest.mark.parametrize(
    "table",
    [pd.DataFrame({"text": ["a", "b"], "n": [1, 2]}), pl.DataFrame({"text": ["a", "b"], "n": [1, 2]}),
     pa.table({"text": ["a", "b"], "n": [1, 2]})],
)  # fmt: skip
def test_the_columns_of_a_table_are_the_inputs(table: Any) -> None:
    assert encode_inputs(table, Shelf()) == {"text": ["a", "b"], "n": [1, 2]}


@pytest.mark.parametrize("library", [pd, pl])
def test_a_table_as_one_input_is_its_rows(library: Any) -> None:
    assert one(library.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})) == [[1.0, 3.0], [2.0, 4.0]]


@pytest.mark.parametrize(
    "column",
    [pd.Series([1.0, None]), pd.Series(["a", None]), pd.Series([1, None], dtype="Int64"), pl.Series([1, None]),
     pl.Series(["a", None]), pa.chunked_array([[1, None]]), pd.DataFrame({"a": [1.0, None], "b": [3.0, 4.0]})],
)  # fmt: skip
def test_missing_values_are_refused_with_their_number(column: Any) -> None:
    with pytest.raises(InvalidInput, match="inputs/x: 1 values of 2 rows are missing") as caught:
        one(column)
    assert caught.value.errors[0].pointer == "#/inputs/x"


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "HSV"])
def test_pictures_are_png_of_every_pixel(mode: str) -> None:
    picture = Image.new("RGB", (3, 2), (200, 100, 50)).convert(mode)
    sent = Image.open(io.BytesIO(base64.b64decode(one(picture)["b64"])))
    assert (sent.format, sent.size) == ("PNG", (3, 2))
    assert sent.convert("RGB").tobytes() == picture.convert("RGB").tobytes()


def test_a_picture_that_no_png_holds_is_refused_with_what_to_do() -> None:
    with pytest.raises(InvalidInput, match="inputs/x: no PNG holds a picture of mode F; convert it"):
        one(Image.new("F", (3, 2)))


def test_a_large_picture_is_uploaded_and_one_among_others_is_not() -> None:
    shelf = Shelf()
    noise = Image.frombytes("RGB", (700, 700), np.random.default_rng(1).bytes(700 * 700 * 3))
    assert one(noise, shelf) == {"object": "obj_1"}
    assert len(shelf.kept[0]) > INLINE_BYTES
    assert list(one([noise])[0]) == ["b64"]


@pytest.mark.parametrize("inputs", [[1, 2], "text", 7, None])
def test_what_names_no_inputs_is_refused(inputs: Any) -> None:
    with pytest.raises(InvalidInput, match="use a mapping of input names, or a table"):
        encode_inputs(inputs, Shelf())


def test_outputs_are_arrays_of_what_the_model_declares(desk: Desk, client: Penstock) -> None:
    outputs: dict[str, Any] = {"y": [[1, 2]], "label": ["a"], "raw": [{"b64": "YWJj"}], "found": [{"box": [1]}]}
    declared = [("y", "FP16"), ("label", "BYTES"), ("raw", "BYTES"), ("found", "JSON")]
    model = {"name": "m", "outputs": [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in declared]}
    desk.say(job("succeeded", outputs=outputs)).say(model).say(job("succeeded", outputs=outputs))
    found = client.run("m", {"x": 1}, as_numpy=True)
    assert (found["y"].dtype, found["y"].tolist()) == (np.float16, [[1, 2]])
    assert (found["label"].tolist(), found["raw"].tolist()) == (["a"], [b"abc"])
    assert found["found"] == [{"box": [1]}]
    client.run("m", {"x": 1}, as_numpy=True)
    assert [seen.path for seen in desk.seen] == ["/v1/jobs", "/v1/models/echo/versions/1", "/v1/jobs"]


def test_a_job_gives_its_outputs_as_numpy_sees_them() -> None:
    found = Job.parse(
        job("succeeded", outputs={"y": [[1.5]], "n": [1], "words": ["a"], "ragged": [[1], [1, 2]]})
    ).numpy()
    assert (found["y"].dtype, found["n"].dtype, found["words"], found["ragged"]) == (
        np.float64, np.int64, ["a"], [[1], [1, 2]]
    )  # fmt: skip
    with pytest.raises(NotReady, match="job_01J is running"):
        Job.parse(job("running")).numpy()
    with pytest.raises(NotReady, match="too large for the job object"):
        Job.parse(job("succeeded", outputs=None)).numpy()


def test_nested_text_keeps_its_axes() -> None:
    [tensor] = [Tensor(name="y", datatype="BYTES", shape=(-1, 2))]
    assert as_numpy({"y": [["a", "b"], ["c", "d"]]}, [tensor])["y"].shape == (2, 2)


def test_the_client_imports_none_of_these_libraries() -> None:
    heavy = "{'numpy', 'pandas', 'polars', 'pyarrow', 'PIL', 'torch'}"
    code = f"import sys, penstock, penstock.transport, penstock.aio.transport; print({heavy} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert told == "set()\n"
