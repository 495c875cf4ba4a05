"""PP-OCR's first step: find lines of text.

The system is described in Li et al., PP-OCRv3, https://arxiv.org/abs/2206.03001 (v4 keeps its shape).
"""

from pathlib import Path
from typing import Any

from models import pictures
from models.manifest import Manifest
from models.runtimes.onnx_ import open_session

from .finding import Finder
from .ordering import in_reading_order


class Model:
    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.threads = manifest.threads
        self.longest_side = int(manifest.options["longest_side"])

    def load(self, device: str) -> None:
        session = open_session(self.folder / "model.onnx", device, threads=self.threads, varied=True)
        self.finder = Finder(session, self.longest_side)

    def predict(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"boxes": [self.page(data) for data in batch["image"]]}

    def page(self, data: bytes | str) -> list[list[list[float]]] | Exception:
        """The boxes of one picture; what is wrong with it fails no other."""
        try:
            return [box.tolist() for box in in_reading_order(self.finder.find(pictures.read(data)))]
        except Exception as error:  # noqa: BLE001 - becomes the outcome of this row
            return error
