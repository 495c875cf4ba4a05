"""Picture files, decoded with care, and pictures as networks take them: for handlers whose input is an image."""

import io
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from errors import InvalidInput

#: Largest picture that is decoded, in pixels: 8 bytes of file can announce gigabytes of picture.
MAX_PIXELS = 40_000_000
#: What is looked for in the bytes. Pillow knows forty more, among them programs for Ghostscript (EPS) and fonts.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")


def read(data: bytes | str, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """A picture as RGB, upright, on white where it is transparent; raises InvalidInput."""
    if isinstance(data, str):
        raise InvalidInput('a picture must come as bytes: {"b64": …}, an upload or a multipart file')
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
        # The header is read, and nothing is decoded yet.
        if picture.width * picture.height > max_pixels:
            raise InvalidInput(f"the picture has {picture.width} x {picture.height} pixels, over {max_pixels}")
        return opaque(ImageOps.exif_transpose(picture))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InvalidInput(f"the picture has far more pixels than {max_pixels}") from error
    except UnidentifiedImageError as error:
        raise InvalidInput("the picture is in no known format, or broken") from error
    # Pillow's decoders, one a format, raise these for broken files.
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise InvalidInput(f"the picture is broken: {error}") from error


def read_rows(rows: Sequence[bytes | str]) -> tuple[dict[int, Image.Image], dict[int, InvalidInput]]:
    """The pictures of a batch by row, and what is wrong with the rows that hold none."""
    found: dict[int, Image.Image] = {}
    broken: dict[int, InvalidInput] = {}
    for row, data in enumerate(rows):
        try:
            found[row] = read(data)
        except InvalidInput as error:
            broken[row] = error
    return found, broken


def opaque(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


def normalised(picture: Image.Image) -> npt.NDArray[np.float32]:
    """float32 [3, height, width] from -1 to 1, blue first."""
    pixels = np.asarray(picture, dtype=np.float32)[:, :, ::-1].transpose(2, 0, 1)
    return np.ascontiguousarray(pixels / np.float32(127.5) - np.float32(1))


def scaled_width(picture: Image.Image, height: int) -> int:
    """The width of a picture that is scaled to `height`."""
    return max(1, round(height * picture.width / picture.height))


def strips(pictures: Sequence[Image.Image], height: int, width: int) -> npt.NDArray[np.float32]:
    """Pictures at one height, normalised, [n, 3, height, width]: filled up with grey on the right, or squeezed."""
    batch = np.zeros((len(pictures), 3, height, width), dtype=np.float32)
    for row, picture in zip(batch, pictures, strict=True):
        taken = min(width, scaled_width(picture, height))
        row[:, :, :taken] = normalised(picture.resize((taken, height), Image.Resampling.BILINEAR))
    return batch
