"""The size that a picture file announces, from its first bytes: PNG, JPEG, GIF, BMP and WebP.

Formats: PNG (W3C, 11.2.2 IHDR), JPEG (ITU T.81, B.2.2 frame header), GIF89a (section 18), BMP (BITMAPINFOHEADER),
WebP (RFC 9649, section 2). Nothing is decoded, so the gateway can afford it; Pillow has the last word.
"""

from typing import Literal

Order = Literal["big", "little"]

#: JPEG's frame headers: SOF0 to SOF15 without DHT (C4), JPG (C8) and DAC (CC), which share their range.
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: JPEG's markers without a length: TEM, RST0 to RST7, SOI.
BARE = frozenset({0x01, *range(0xD0, 0xD9)})


def size(head: bytes) -> tuple[int, int] | None:
    """Width and height in pixels; None where the format is another one or the header is cut off."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return pair(head, 16, 4, "big")
    if head.startswith((b"GIF87a", b"GIF89a")):
        return pair(head, 6, 2, "little")
    if head.startswith(b"BM"):
        # A negative height tells that the rows go from the top down.
        found = pair(head, 18, 4, "little", signed=True)
        return found and (abs(found[0]), abs(found[1]))
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return webp(head)
    return jpeg(head) if head.startswith(b"\xff\xd8") else None


def pair(
    head: bytes, at: int, width: int, order: Literal["big", "little"], *, signed: bool = False
) -> tuple[int, int] | None:
    """Two numbers of `width` bytes; None where the head ends before."""
    if len(head) < at + 2 * width:
        return None
    first, second = head[at : at + width], head[at + width : at + 2 * width]
    return int.from_bytes(first, order, signed=signed), int.from_bytes(second, order, signed=signed)


def jpeg(head: bytes) -> tuple[int, int] | None:
    """Walk from segment to segment up to the frame header."""
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        kind = head[at + 1]
        if kind in FRAMES:
            found = pair(head, at + 5, 2, "big")
            return found and (found[1], found[0])
        # Any number of FF bytes may stand before a marker.
        at += 1 if kind == 0xFF else 2 if kind in BARE else 2 + int.from_bytes(head[at + 2 : at + 4])
    return None


def webp(head: bytes) -> tuple[int, int] | None:
    if len(head) < 30:
        return None
    match head[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
        case b"VP8L":
            bits = int.from_bytes(head[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            found = pair(head, 26, 2, "little")
            return found and (found[0] & 0x3FFF, found[1] & 0x3FFF)
    return None
