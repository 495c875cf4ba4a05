"""Cut lines out, turn them upright, read them."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from .finding import Floats, Points, normalised, sides

#: Height in pixels that lines are scaled to for both networks.
HEIGHT = 48
#: Width that a line is cut off at for the network that looks whether it is upside down: its beginning says more than
#: all of it squeezed to this width.
TURN_WIDTH = 192
#: Least width a batch of lines is read at; narrower ones are padded.
READ_WIDTH = 160
#: Paper left above and below a line, in shares of its height. Without it the network swallows blanks between words
#: (on the sample invoice in half of the lines); with more it sees the neighbouring lines.
MARGIN = 0.1
#: Longest line that is read, as a multiple of its height; a longer one is squeezed.
MAX_ASPECT = 60
#: Lines in one call of a network.
LINES = 6
#: A line is turned where the network is surer than this.
SURE = 0.9
#: A crop higher than this times its width is text that runs downwards.
STEEP = 1.5
#: Boxes whose tops differ by less, in shares of the lower one's height, stand on one line.
SAME_LINE = 0.5
#: CTC's symbol for "nothing new"; Graves et al. 2006, https://doi.org/10.1145/1143844.1143891.
BLANK = 0


def in_reading_order(boxes: Sequence[Points]) -> list[Points]:
    """From the top to the bottom, and from left to right where boxes stand side by side."""
    rows: list[list[Points]] = []
    for box in sorted(boxes, key=lambda box: box[:, 1].mean()):
        first = rows[-1][0] if rows else None
        if first is not None and abs(box[:, 1].mean() - first[:, 1].mean()) < SAME_LINE * min(
            sides(box)[1], sides(first)[1]
        ):
            rows[-1].append(box)
        else:
            rows.append([box])
    return [box for row in rows for box in sorted(row, key=lambda box: box[0, 0])]


def cut(picture: Image.Image, box: Points) -> Image.Image:
    """A box's content, level; text that runs downwards is laid on its side."""
    steep = sides(box)[1] >= STEEP * sides(box)[0]
    box = widened(box, (1, 0, 3, 2) if steep else (3, 2, 1, 0))
    width, height = (max(1, round(side)) for side in sides(box))
    right, down = (box[1] - box[0]) / width, (box[3] - box[0]) / height
    # Pillow asks which point of the source each point of the crop comes from.
    matrix = (right[0], down[0], box[0, 0], right[1], down[1], box[0, 1])
    crop = picture.transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    return crop.transpose(Image.Transpose.ROTATE_90) if steep else crop


def widened(box: Points, opposite: tuple[int, ...]) -> Points:
    """The box with MARGIN across the text; `opposite` names each corner's partner there."""
    return box + (box - box[list(opposite)]) * MARGIN


class Turner:
    """Which lines stand on their head."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def upright(self, crops: Sequence[Image.Image]) -> list[Image.Image]:
        turned = list(crops)
        for chosen in batches(crops):
            batch = stacked([beginning(crops[i]) for i in chosen], TURN_WIDTH)
            (probability,) = self.session.run(None, {"x": batch})
            for i, upside_down in zip(chosen, probability[:, 1] > SURE, strict=True):
                if upside_down:
                    turned[i] = crops[i].transpose(Image.Transpose.ROTATE_180)
        return turned


class Reader:
    """Text of lines. The alphabet stands in the network's own metadata."""

    def __init__(self, session: Any) -> None:
        self.session = session
        listed = session.get_modelmeta().custom_metadata_map["character"].splitlines()
        self.alphabet = np.array(["", *listed, " "])

    def read(self, crops: Sequence[Image.Image]) -> list[tuple[str, float]]:
        """Text and confidence of each line."""
        results: list[tuple[str, float]] = [("", 0.0)] * len(crops)
        for chosen in batches(crops):
            width = max(READ_WIDTH, *(scaled_width(crops[i]) for i in chosen))
            (probability,) = self.session.run(None, {"x": stacked([crops[i] for i in chosen], width)})
            for i, steps in zip(chosen, probability, strict=True):
                results[i] = self.decode(steps)
        return results

    def decode(self, probability: Floats) -> tuple[str, float]:
        """Greedy CTC decoding of [time, symbols]: repeats are one, blanks none."""
        best = probability.argmax(axis=1)
        kept = best != BLANK
        kept[1:] &= best[1:] != best[:-1]
        if not kept.any():
            return "", 0.0
        return "".join(self.alphabet[best[kept]]), float(probability.max(axis=1)[kept].mean())


def batches(crops: Sequence[Image.Image]) -> Iterator[list[int]]:
    """Numbers of crops that go together: of like width, so that little is padded."""
    order = sorted(range(len(crops)), key=lambda i: crops[i].width / crops[i].height)
    for start in range(0, len(order), LINES):
        yield order[start : start + LINES]


def scaled_width(crop: Image.Image) -> int:
    """The width at which a line is HEIGHT pixels high."""
    return max(1, round(HEIGHT * min(crop.width / crop.height, MAX_ASPECT)))


def beginning(crop: Image.Image) -> Image.Image:
    return crop.crop((0, 0, min(crop.width, crop.height * TURN_WIDTH // HEIGHT), crop.height))


def stacked(crops: Sequence[Image.Image], width: int) -> npt.NDArray[np.float32]:
    """The lines as float32 [n, 3, HEIGHT, width], filled up with grey on the right."""
    batch = np.zeros((len(crops), 3, HEIGHT, width), dtype=np.float32)
    for row, crop in zip(batch, crops, strict=True):
        taken = min(width, scaled_width(crop))
        row[:, :, :taken] = normalised(crop.resize((taken, HEIGHT), Image.Resampling.BILINEAR))
    return batch
