"""Pictures from strangers are decoded with care."""

import io
import zlib

import pytest
from PIL import Image

from errors import InvalidInput
from models import pictures


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a hundred bytes that announces a picture of any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + b"\x08\x02\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_any_mode_becomes_rgb(mode: str) -> None:
    assert pictures.read(png(Image.new(mode, (3, 2)))).mode == "RGB"


def test_transparent_is_white() -> None:
    assert pictures.read(png(Image.new("RGBA", (1, 1), (0, 0, 0, 0)))).getpixel((0, 0)) == (255, 255, 255)


def test_photograph_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (4, 2)).save(buffer, "JPEG", exif=exif)
    assert pictures.read(buffer.getvalue()).size == (2, 4)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no known format"),
        (b"%PDF-1.7", "no known format"),
        (png(Image.effect_noise((64, 64), 50))[:900], "broken"),
        ("text", "must come as bytes"),
        (bomb(30_000, 30_000), "far more pixels"),
        (bomb(10_000, 10_000), "far more pixels"),
        (bomb(8_000, 6_000), "8000 x 6000 pixels, over 40000000"),
    ],
    ids=["empty", "pdf", "truncated", "text", "bomb", "small bomb", "too large"],
)
def test_broken_picture_is_invalid_input(data: bytes | str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        pictures.read(data)


def test_broken_pictures_of_a_batch_are_told_apart_by_row() -> None:
    good = png(Image.new("L", (4, 2), 9))
    found, broken = pictures.read_rows([good, b"no picture", "text", good])
    assert {row: picture.size for row, picture in found.items()} == {0: (4, 2), 3: (4, 2)}
    assert {row: type(error) for row, error in broken.items()} == {1: InvalidInput, 2: InvalidInput}


def test_strips_are_filled_up_with_grey_or_squeezed_to_one_width() -> None:
    narrow, wide = Image.new("RGB", (10, 20), "white"), Image.new("RGB", (100, 20), (255, 0, 0))
    batch = pictures.strips([narrow, wide], 10, 8)
    assert batch.shape == (2, 3, 10, 8)
    assert (batch[0, :, :, :5] == 1).all()
    assert (batch[0, :, :, 5:] == 0).all()
    # Blue first.
    assert [batch[1, channel].mean() for channel in range(3)] == [-1, -1, 1]
