"""A picture file to the 8 x 8 grey values, 0 (paper) to 16 (ink), that the network was trained on."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from errors import InvalidInput

SIDE = 8
#: Largest picture that is decoded, in pixels; the header tells before anything is allocated.
MAX_PIXELS = 16 * 2**20


def preprocess(inputs: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    return {"pixels": np.stack([pixels(data) for data in inputs["image"]])}


def pixels(data: bytes | str) -> npt.NDArray[np.float32]:
    """Ink of one picture as float32 [1, 8, 8]; raises InvalidInput."""
    picture = grey(data)
    if np.asarray(picture).mean() > 127:
        picture = ImageOps.invert(picture)
    if picture.size != (SIDE, SIDE):
        picture = framed(picture)
    return (np.asarray(picture, dtype=np.float32) / 255 * 16)[None]


def grey(data: bytes | str) -> Image.Image:
    if isinstance(data, str):
        raise InvalidInput('image must hold the bytes of a picture file, as {"b64": …} or as an upload')
    try:
        with Image.open(io.BytesIO(data)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise InvalidInput(f"image has {picture.width} x {picture.height} pixels, more than {MAX_PIXELS}")
            return picture.convert("L")
    # Pillow's decoders raise many kinds for a broken file; the registry of them is open.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidInput(f"image is not a readable picture: {error}") from error


def framed(picture: Image.Image) -> Image.Image:
    """The ink alone, filling the frame's height or width, in the middle of it: as the training digits stand."""
    box = picture.point(lambda value: 255 if value > 64 else 0).getbbox()
    return ImageOps.pad(picture.crop(box), (SIDE, SIDE), Image.Resampling.BOX) if box else picture.resize((SIDE, SIDE))
