"""Small files that announce, or unpack to, more than a machine has: refused, and cheaply."""

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
import pytest
from numpy.lib import format as npy_format
from PIL import Image

from errors import InvalidInput
from models import npy, pictures
from models.manifest import Tensor

SIDE = 30_000
MB = 2**20


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *, rows: bytes = b"", extra: bytes = b"", bits: int = 1) -> bytes:
    """A grey picture; without `rows` all black, and whole."""
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    if not rows:
        packer, row = zlib.compressobj(1), bytes(1 + (width * bits + 7) // 8)
        rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def text(size: int) -> bytes:
    """A comment that unpacks to so many bytes."""
    return chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(size), 9))


def gif(width: int, height: int) -> bytes:
    screen, frame = struct.pack("<HHBBB", width, height, 0, 0, 0), struct.pack("<HHHHB", 0, 0, width, height, 0)
    return b"GIF89a" + screen + b"," + frame + b"\x02\0;"


def tiff(width: int, height: int) -> bytes:
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (262, 3, 1), (273, 4, 8), (278, 4, height), (279, 4, 10)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4)


def bmp(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 1, 0, 0, 0, 0, 2, 0)
    return b"BM" + struct.pack("<IHHI", 62, 0, 0, 62) + info + bytes(8)


def jpeg(width: int, height: int) -> bytes:
    frame = struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\x01\x11\0"
    return b"\xff\xd8\xff\xc0" + frame + b"\xff\xda\0\x08\x01\x01\0\0\x3f\0" + b"\xff\xd9"


def webp(width: int, height: int) -> bytes:
    canvas = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + b"VP8X" + struct.pack("<I", len(canvas)) + canvas
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Fails a test in which Python's own heap grew by more than 16 MB."""
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * MB


@pytest.mark.parametrize("make", [png, gif, tiff, bmp, jpeg, webp])
def test_picture_of_900_megapixels_is_refused_by_its_header(
    make: Callable[[int, int], bytes], little_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoded(*_: object) -> None:
        raise AssertionError("the picture was decoded")

    monkeypatch.setattr(Image.Image, "convert", decoded)
    bomb = make(SIDE, SIDE)
    assert len(bomb) < MB
    with pytest.raises(InvalidInput, match=r"pixels|in no known format|broken"):
        pictures.read(bomb)


def test_whole_png_of_900_megapixels_has_a_few_hundred_kilobytes_and_is_refused(little_memory: None) -> None:
    bomb = png(SIDE, SIDE)
    assert len(bomb) < MB
    with pytest.raises(InvalidInput, match="pixels"):
        pictures.read(bomb)


@pytest.mark.parametrize(("width", "height"), [(2**31 - 1, 2**31 - 1), (2**31 - 1, 1), (40_000_001, 1)])
def test_sizes_that_would_overflow_are_refused(width: int, height: int, little_memory: None) -> None:
    with pytest.raises(InvalidInput, match=r"pixels|broken"):
        pictures.read(png(width, height, rows=zlib.compress(b"\0")))


def test_comment_that_unpacks_to_a_gigabyte_is_not_unpacked() -> None:
    before = png(8, 8)
    bomb = png(8, 8, extra=text(1024 * MB // 8) * 8)
    assert len(bomb) < 2 * MB
    assert pictures.read(before).size == (8, 8)
    tracemalloc.start()
    # Refused or read without its comment: either will do.
    with suppress(InvalidInput):
        pictures.read(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 80 * MB


def test_data_beyond_the_announced_picture_is_not_unpacked(little_memory: None) -> None:
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(MB)) for _ in range(256)) + packer.flush()
    assert pictures.read(png(8, 8, rows=rows)).size == (8, 8)


@pytest.mark.parametrize(
    "data",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(cat /etc/passwd) (r) file\n",
        b"%PDF-1.4\n",
        b"P6 30000 30000 255\n",
        b"\x00\x00\x00\x0cjP  \r\n\x87\n",
        b"SIMPLE  =                    T",
    ],
)
def test_formats_that_run_programs_or_are_rare_are_not_looked_for(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="no known format"):
        pictures.read(data)


@pytest.mark.parametrize("kind", pictures.FORMATS)
def test_usual_formats_are_read(kind: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (9, 5), "red").save(file, kind)
    assert pictures.read(file.getvalue()).size == (9, 5)


@pytest.mark.parametrize("shape", [(10**9, 10**9), (2**62, 4), (-1, 4), (10**6, 4), (0, 4), (2**31, 2**33)])
def test_npy_that_announces_more_than_it_holds_is_refused(shape: tuple[int, ...], little_memory: None) -> None:
    file = io.BytesIO()
    npy_format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    with pytest.raises(InvalidInput, match=r"announces|shape"):
        npy.read(Tensor(name="x", datatype="FP32", shape=(-1, 4)), file.getvalue() + bytes(64), True)


def test_npy_of_objects_is_not_unpickled() -> None:
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InvalidInput, match="holds object, not numbers"):
        npy.read(Tensor(name="x", datatype="FP32", shape=(-1,)), file.getvalue(), True)
