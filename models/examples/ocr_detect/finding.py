"""Where text stands: the detection network's probability map, and rectangles from it.

Differentiable Binarization: Liao et al., https://arxiv.org/abs/1911.08947. The network marks the shrunk
core of each line; the rectangle around a core, grown back, is the line's box.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage  # type: ignore[import-untyped]

from models import pictures

Floats = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

#: A pixel belongs to text above this probability.
TEXT_PIXEL = 0.3
#: A rectangle is text where its pixels' mean probability reaches this.
TEXT_BOX = 0.5
#: Growth of a core: its area times this, divided by its perimeter, on each side.
UNCLIP = 1.6
#: Shorter sides than this, in pixels, are noise: of a core, and of a grown box.
LEAST_CORE, LEAST_BOX = 3, 5
#: The shorter side is enlarged to this before detection, or small pictures would lose their text.
SHORTEST_SIDE = 736
#: Lines looked at in one picture.
MAX_LINES = 1000
#: The network halves its input five times.
MULTIPLE = 32


class Finder:
    def __init__(self, session: Any, longest_side: int) -> None:
        self.session = session
        self.longest_side = longest_side

    def find(self, picture: Image.Image) -> list[Points]:
        """Boxes [4, 2] in the picture's pixels, clockwise from the top left."""
        size = self.working_size(*picture.size)
        (maps,) = self.session.run(None, {"x": pictures.normalised(picture.resize(size))[None]})
        scale = np.array(picture.size) / size
        edge = np.array(picture.size)
        return [np.clip(box * scale, 0, edge) for box in boxes(maps[0, 0])]

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        """The size text is looked for at: multiples of 32 within bounds, about the picture's shape."""
        scale = max(1.0, SHORTEST_SIDE / min(width, height))
        scale = min(scale, self.longest_side / max(width, height))
        return tuple(max(MULTIPLE, round(side * scale / MULTIPLE) * MULTIPLE) for side in (width, height))  # type: ignore


def boxes(probability: Floats) -> list[Points]:
    """Rectangles [4, 2] of text in a probability map [height, width]."""
    marked = ndimage.binary_dilation(probability > TEXT_PIXEL, np.ones((2, 2)))
    labels, _ = ndimage.label(marked, np.ones((3, 3)))
    found = []
    for number, window in enumerate(ndimage.find_objects(labels)[:MAX_LINES], 1):
        origin = np.array([window[1].start, window[0].start], dtype=np.float64)
        core = smallest_rectangle(outline(labels[window] == number) + origin)
        if short_side(core) < LEAST_CORE or score(probability, core) < TEXT_BOX:
            continue
        box = grown(core)
        if short_side(box) >= LEAST_BOX:
            found.append(clockwise(box))
    return found


def outline(mask: npt.NDArray[np.bool_]) -> Points:
    """The outermost pixels [n, 2] of each row: all that a convex hull can rest on."""
    rows = np.flatnonzero(mask.any(axis=1))
    left = mask[rows].argmax(axis=1)
    right = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    return np.concatenate([np.stack([left, rows], axis=1), np.stack([right, rows], axis=1)]).astype(np.float64)


def smallest_rectangle(points: Points) -> Points:
    """Corners [4, 2] of the rectangle of least area around the points; it lies along an edge of their hull."""
    corners = hull(points)
    edges = np.roll(corners, -1, axis=0) - corners
    angles = np.unique(np.arctan2(edges[:, 1], edges[:, 0]) % (np.pi / 2))
    along = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    u, v = corners @ along.T, corners @ across.T
    best = (np.ptp(u, axis=0) * np.ptp(v, axis=0)).argmin()
    low_u, high_u, low_v, high_v = u[:, best].min(), u[:, best].max(), v[:, best].min(), v[:, best].max()
    turned = np.array([[low_u, low_v], [high_u, low_v], [high_u, high_v], [low_u, high_v]])
    rectangle: Points = turned @ np.stack([along[best], across[best]])
    return rectangle


def hull(points: Points) -> Points:
    """Convex hull, by Andrew's monotone chain."""
    ordered = np.unique(points, axis=0).tolist()
    if len(ordered) < 3:
        return np.array(ordered)
    return np.array(chain(ordered)[:-1] + chain(ordered[::-1])[:-1])


def chain(points: list[list[float]]) -> list[list[float]]:
    kept: list[list[float]] = []
    for x, y in points:
        while len(kept) > 1 and not turns_left(kept[-2], kept[-1], x, y):
            kept.pop()
        kept.append([x, y])
    return kept


def turns_left(a: list[float], b: list[float], x: float, y: float) -> bool:
    return (b[0] - a[0]) * (y - a[1]) > (b[1] - a[1]) * (x - a[0])


def sides(box: Points) -> tuple[float, float]:
    return float(np.linalg.norm(box[1] - box[0])), float(np.linalg.norm(box[3] - box[0]))


def short_side(box: Points) -> float:
    return min(sides(box))


def score(probability: Floats, box: Points) -> float:
    """Mean probability of the pixels inside a rectangle."""
    low = np.floor(box.min(axis=0)).clip(0).astype(int)
    high = np.ceil(box.max(axis=0)).astype(int) + 1
    part = probability[low[1] : high[1], low[0] : high[0]]
    y, x = np.mgrid[low[1] : low[1] + part.shape[0], low[0] : low[0] + part.shape[1]]
    inside = np.ones(part.shape, dtype=bool)
    for corner, neighbour in ((0, 1), (0, 3)):
        edge = box[neighbour] - box[corner]
        place = (x - box[corner, 0]) * edge[0] + (y - box[corner, 1]) * edge[1]
        inside &= (place >= 0) & (place <= edge @ edge)
    return float(part[inside].mean()) if inside.any() else 0.0


def grown(box: Points) -> Points:
    """A core's rectangle, every side moved outwards by what shrinking took."""
    width, height = sides(box)
    distance = width * height * UNCLIP / (2 * (width + height))
    right, down = (box[1] - box[0]) / width, (box[3] - box[0]) / height
    steps = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * distance
    moved: Points = box + steps[:, :1] * right + steps[:, 1:] * down
    return moved


def clockwise(box: Points) -> Points:
    """The corners from the top left on, as the text runs: the longer sides rather flat than steep."""
    center = box.mean(axis=0)
    around = box[np.argsort(np.arctan2(*(box - center).T[::-1]))]
    return np.roll(around, -int(around.sum(axis=1).argmin()), axis=0)
