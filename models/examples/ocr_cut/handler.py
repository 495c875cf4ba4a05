"""PP-OCR's second step: cut lines out of a picture."""

import io
from typing import Any

import numpy as np
from PIL import Image

from models import pictures

from .cutting import cut, reading_widths


class Model:
    def load(self, device: str) -> None:
        pass

    def predict(self, batch: dict[str, Any]) -> dict[str, Any]:
        pages = [self.page(*row) for row in zip(batch["image"], batch["boxes"], strict=True)]
        # All pages of a batch have as many boxes: their shapes are equal.
        widths = [[] if isinstance(page, Exception) else reading_widths(page) for page in pages]
        blank = [0] * len(batch["boxes"][0])
        return {
            "lines": [page if isinstance(page, Exception) else [bmp(line) for line in page] for page in pages],
            "widths": np.array([row or blank for row in widths], dtype=np.int32).reshape(len(pages), len(blank)),
        }

    def page(self, data: bytes | str, boxes: Any) -> list[Image.Image] | Exception:
        """The lines of one picture; what is wrong with it fails no other."""
        try:
            picture = pictures.read(data)
            return [cut(picture, box) for box in boxes]
        except Exception as error:  # noqa: BLE001 - becomes the outcome of this row
            return error


def bmp(picture: Image.Image) -> bytes:
    """A picture file that costs next to nothing to write and to read."""
    file = io.BytesIO()
    picture.save(file, "BMP")
    return file.getvalue()
