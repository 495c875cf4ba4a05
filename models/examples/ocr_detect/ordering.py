"""The order in which a reader takes lines."""

from collections.abc import Sequence

from .finding import Points, sides

#: Boxes whose tops differ by less, in shares of the lower one's height, stand on one line.
SAME_LINE = 0.5


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
