"""PP-OCR: find lines of text, turn those that stand on their head, read them.

The system is described in Li et al., PP-OCRv3, https://arxiv.org/abs/2206.03001 (v4 keeps its shape).
"""

from pathlib import Path
from typing import Any

from PIL import Image

from models import pictures
from models.manifest import Manifest
from models.runtimes.onnx_ import open_session

from .finding import Finder
from .lines import Reader, Turner, cut, in_reading_order


class Model:
    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.threads = manifest.threads
        self.longest_side = int(manifest.options["longest_side"])
        self.least_confidence = float(manifest.options["least_confidence"])

    def load(self, device: str) -> None:
        detect, turn, read = (
            open_session(self.folder / f"{name}.onnx", device, threads=self.threads, varied=True)
            for name in ("detect", "turn", "read")
        )
        self.finder = Finder(detect, self.longest_side)
        self.turner = Turner(turn)
        self.reader = Reader(read)

    def predict(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"lines": [self.page(data) for data in batch["image"]]}

    def page(self, data: bytes | str) -> list[dict[str, Any]] | Exception:
        """The lines of one picture; what is wrong with it fails no other."""
        try:
            return self.lines(pictures.read(data))
        except Exception as error:  # noqa: BLE001 - becomes the outcome of this row
            return error

    def lines(self, picture: Image.Image) -> list[dict[str, Any]]:
        boxes = in_reading_order(self.finder.find(picture))
        crops = self.turner.upright([cut(picture, box) for box in boxes])
        return [
            {"text": text, "confidence": round(confidence, 4), "box": box.round(1).tolist()}
            for box, (text, confidence) in zip(boxes, self.reader.read(crops), strict=True)
            if text and confidence >= self.least_confidence
        ]
