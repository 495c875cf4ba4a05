"""Picture files, decoded with care: for handlers whose input is an image."""

import io
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

from errors import InvalidInput

#: Largest picture that is decoded, in pixels: 8 bytes of file can announce gigabytes of picture.
MAX_PIXELS = 40_000_000


def read(data: bytes | str, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """A picture as RGB, upright, on white where it is transparent; raises InvalidInput."""
    if isinstance(data, str):
        raise InvalidInput('a picture must come as bytes: {"b64": …}, an upload or a multipart file')
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            picture = Image.open(io.BytesIO(data))
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


def opaque(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")
