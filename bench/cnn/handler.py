"""JPEG to pixels; the graph normalises them."""

import io
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from errors import InvalidInput

SIZE = (224, 224)


def preprocess(inputs: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    return {"image": np.stack([pixels(data) for data in inputs["image"]])}


def pixels(data: bytes) -> Any:
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
            if picture.size != SIZE:
                raise InvalidInput(f"the picture has {picture.size} pixels; the model takes {SIZE}")
            return np.asarray(picture.convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise InvalidInput(f"the picture cannot be read: {error}") from error
