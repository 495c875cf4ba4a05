"""A picture file to the 8 x 8 grey values, 0 (paper) to 16 (ink), that the network was trained on."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from models import pictures

SIDE = 8
#: Grey value above which a pixel counts as ink when the digit is cut out.
INK = 64


def preprocess(inputs: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    return {"pixels": np.stack([pixels(data) for data in inputs["image"]])}


def pixels(data: bytes | str) -> npt.NDArray[np.float32]:
    """Ink of one picture as float32 [1, 8, 8]; raises InvalidInput."""
    picture = pictures.read(data).convert("L")
    if np.asarray(picture).mean() > 127:
        picture = ImageOps.invert(picture)
    if picture.size != (SIDE, SIDE):
        picture = framed(picture)
    return np.asarray(picture, dtype=np.float32)[None] * np.float32(16 / 255)


def framed(picture: Image.Image) -> Image.Image:
    """The ink alone, as high as the frame and in the middle of it: as the training digits stand."""
    box = picture.point(lambda value: 255 if value > INK else 0).getbbox()
    return ImageOps.pad(picture.crop(box), (SIDE, SIDE), Image.Resampling.BOX)
