"""Lines as pictures of their own."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from models import pictures

Points = npt.NDArray[np.float64]

#: Height in pixels that lines are scaled to where they are read.
HEIGHT = 48
#: So many lines of a page, alike in width, are filled up to the widest of them. Never by what other jobs are about:
#: with more or less paper behind it the network may read a blurred line otherwise, and a page is to have one text.
ALIKE = 6
#: Paper left above and below a line, in shares of its height. Without it the network swallows blanks between words
#: (on the sample invoice in half of the lines); with more it sees the neighbouring lines.
MARGIN = 0.1
#: A crop higher than this times its width is text that runs downwards.
STEEP = 1.5


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


def sides(box: Points) -> tuple[float, float]:
    return float(np.linalg.norm(box[1] - box[0])), float(np.linalg.norm(box[3] - box[0]))


def widened(box: Points, opposite: tuple[int, ...]) -> Points:
    """The box with MARGIN across the text; `opposite` names each corner's partner there."""
    return box + (box - box[list(opposite)]) * MARGIN


def reading_widths(lines: Sequence[Image.Image]) -> list[int]:
    """The width each line of a page is to be read at."""
    widths = [0] * len(lines)
    order = sorted(range(len(lines)), key=lambda i: lines[i].width / lines[i].height)
    for start in range(0, len(order), ALIKE):
        chosen = order[start : start + ALIKE]
        widest = max(pictures.scaled_width(lines[i], HEIGHT) for i in chosen)
        for i in chosen:
            widths[i] = widest
    return widths
