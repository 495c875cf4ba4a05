"""PP-OCR's third step: which lines stand on their head."""

from pathlib import Path
from typing import Any

from PIL import Image

from models import pictures
from models.manifest import Manifest
from models.runtimes.onnx_ import open_session

#: Height in pixels that lines are scaled to.
HEIGHT = 48
#: Width that a line is cut off at: its beginning says more than all of it squeezed to this width.
WIDTH = 192
#: A line is turned where the network is surer than this.
SURE = 0.9
#: Lines in one call of the network: with more its working memory outgrows the caches.
LINES = 6


class Model:
    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.threads = manifest.threads

    def load(self, device: str) -> None:
        self.session = open_session(self.folder / "model.onnx", device, threads=self.threads, varied=True)

    def predict(self, batch: dict[str, Any]) -> dict[str, Any]:
        lines, broken = pictures.read_rows(batch["line"])
        rows = list(lines)
        turned: dict[int, Any] = dict(broken)
        for start in range(0, len(rows), LINES):
            chosen = rows[start : start + LINES]
            x = pictures.strips([beginning(lines[row]) for row in chosen], HEIGHT, WIDTH)
            (probability,) = self.session.run(None, {"x": x})
            turned |= zip(chosen, (probability[:, 1] > SURE).tolist(), strict=True)
        return {"upside_down": [turned[row] for row in range(len(turned))]}


def beginning(line: Image.Image) -> Image.Image:
    return line.crop((0, 0, min(line.width, line.height * WIDTH // HEIGHT), line.height))
