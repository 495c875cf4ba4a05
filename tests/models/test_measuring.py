"""What a job weighs is told alike by its JSON in the gateway and by its rows in the executor."""

import base64
import io
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models import arrays, headers, signature
from models.manifest import Batching, Manifest, Tensor, Weight
from models.measuring import PLAIN, Measure, measure, row_weights


def manifest(tensor: Tensor, **batching: Any) -> Manifest:
    output = Tensor("y", "FP32", (-1,))
    return Manifest(name="m", runtime="python", inputs=(tensor,), outputs=(output,), batching=Batching(**batching))


def text(**weight: Any) -> Manifest:
    return manifest(Tensor("x", "BYTES", (-1,)), weight=Weight("x", **weight))


def never(key: str) -> bytes:
    raise AssertionError(f"object {key} was asked for")


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def picture(form: str, width: int, height: int, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, form, **options)
    return file.getvalue()


def test_model_that_leaves_nothing_open_measures_nothing() -> None:
    plain = manifest(Tensor("x", "FP32", (-1, 2)))
    assert measure(plain, {"x": [[1.0, 2.0]]}) is PLAIN


def test_heaviest_text_counts_by_characters_a_token() -> None:
    found = measure(text(unit="characters", per=4), {"x": ["four", "nine char", ""]})
    assert found == Measure(weight=3)


def test_single_row_is_weighed_as_one() -> None:
    assert measure(text(unit="characters"), {"x": "abc"}).weight == 3
    assert measure(text(unit="characters"), {"x": b64(b"12345")}).weight == 5


def test_weight_ends_at_the_most_that_the_model_keeps() -> None:
    assert measure(text(unit="characters", most=256), {"x": "a" * 5000}).weight == 256


def test_row_behind_a_reference_weighs_the_most_it_may() -> None:
    assert measure(text(unit="characters", most=256), {"x": {"object": "obj_1"}}).weight == 256
    assert measure(text(unit="characters"), {"x": {"object": "obj_1"}}).weight == 0


def test_padded_input_weighs_its_elements() -> None:
    padded = manifest(Tensor("ids", "INT64", (-1, -1)), pad={"ids": 0})
    assert measure(padded, {"ids": [[5, 6, 7], [8, 9, 1]]}) == Measure(weight=3)
    assert measure(padded, {"ids": b64(np.arange(5).tobytes()) | {"shape": [1, 5]}}) == Measure(weight=5)


def test_open_axes_that_are_not_padded_make_the_shape() -> None:
    image = manifest(Tensor("image", "UINT8", (-1, -1, -1, 3)))
    assert measure(image, {"image": [[[[1, 2, 3]] * 4] * 2]}).shape == "2x4"
    assert measure(image, {"image": [[[1, 2, 3]] * 4] * 2}).shape == "2x4"
    assert measure(image, {"image": {"object": "obj_1"}}).shape == "?"


ROWS = st.lists(st.text(max_size=40) | st.binary(min_size=1, max_size=40).map(b64), min_size=1, max_size=6)


@given(rows=ROWS, per=st.floats(0.3, 9), most=st.none() | st.integers(1, 30))
def test_executor_weighs_texts_as_the_gateway_did(rows: list[Any], per: float, most: int | None) -> None:
    model = text(unit="characters", per=per, most=most)
    decoded = arrays.decode(model, {"x": rows}, never)
    assert max(row_weights(model, decoded)) == measure(model, {"x": rows}).weight


@given(shape=st.lists(st.integers(1, 4), min_size=2, max_size=4), raw=st.booleans(), per=st.floats(0.3, 9))
def test_executor_weighs_numbers_as_the_gateway_did(shape: list[int], raw: bool, per: float) -> None:
    model = manifest(Tensor("x", "FP32", (-1,) * len(shape)), weight=Weight("x", "elements", per=per))
    array = np.zeros(shape, dtype=np.float32)
    inputs: dict[str, Any] = {"x": b64(array.tobytes()) | {"shape": shape} if raw else array.tolist()}
    signature.check(model, inputs)
    decoded = arrays.decode(model, inputs, never)
    assert row_weights(model, decoded) == [measure(model, inputs).weight] * shape[0]
    assert measure(model, inputs).shape == "x".join(map(str, shape[1:]))


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("PNG", {}), ("GIF", {}), ("BMP", {}), ("JPEG", {}), ("JPEG", {"progressive": True}),
        ("JPEG", {"exif": b"Exif\0\0" + bytes(60_000)}), ("WEBP", {}), ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0" + bytes(10)}),
    ],
)  # fmt: skip
def test_size_of_a_picture_is_read_from_its_header(form: str, options: dict[str, Any]) -> None:
    data = picture(form, 300, 170, **options)
    assert headers.size(data) == (300, 170)
    model = text(unit="pixels", per=1000)
    assert measure(model, {"x": b64(data)}).weight == math.ceil(300 * 170 / 1000)
    assert row_weights(model, {"x": [data]}) == [51]


@given(
    head=st.binary(max_size=64), start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"\xff\xd8\xff"])
)
def test_any_bytes_have_a_size_or_none(head: bytes, start: bytes) -> None:
    found = headers.size(start + head)
    assert found is None or min(found) >= 0


def test_picture_of_another_format_weighs_as_if_unknown() -> None:
    model = text(unit="pixels", most=9)
    assert measure(model, {"x": b64(b"II*\0 a TIFF file")}).weight == 9
    assert row_weights(model, {"x": [b"II*\0 a TIFF file"]}) == [9]
