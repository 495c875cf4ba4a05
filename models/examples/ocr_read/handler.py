"""PP-OCR's last step: the text of lines."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from models import pictures
from models.manifest import Manifest
from models.runtimes.onnx_ import open_session

#: Height in pixels that lines are scaled to.
HEIGHT = 48
#: Widths that lines are read at: narrower ones are filled up, wider ones squeezed.
LEAST_WIDTH, MOST_WIDTH = 160, 60 * HEIGHT
#: Most pixels of width in one call of the network, all its lines together; one alone may have more. Beyond, its working
#: memory outgrows the caches: on two cores a line of 640 pixels took 58 ms in pairs, 75 ms in sixes.
COLUMNS = 1400
#: CTC's symbol for "nothing new"; Graves et al. 2006, https://doi.org/10.1145/1143844.1143891.
BLANK = 0


class Model:
    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.threads = manifest.threads

    def load(self, device: str) -> None:
        self.session = open_session(self.folder / "model.onnx", device, threads=self.threads, varied=True)
        # The alphabet stands in the network's own metadata.
        listed = self.session.get_modelmeta().custom_metadata_map["character"].splitlines()
        self.alphabet = np.array(["", *listed, " "])

    def predict(self, batch: dict[str, Any]) -> dict[str, Any]:
        lines, broken = pictures.read_rows(batch["line"])
        texts: dict[int, Any] = dict(broken)
        confidences = np.zeros(len(batch["line"]), dtype=np.float32)
        for row in lines:
            if batch["upside_down"][row]:
                lines[row] = lines[row].transpose(Image.Transpose.ROTATE_180)
        for width, chosen in together(lines, batch["width"]):
            x = pictures.strips([lines[row] for row in chosen], HEIGHT, width)
            (probability,) = self.session.run(None, {"x": x})
            for row, steps in zip(chosen, probability, strict=True):
                texts[row], confidences[row] = self.decode(steps)
        return {"text": [texts[row] for row in range(len(texts))], "confidence": confidences}

    def decode(self, probability: npt.NDArray[np.float32]) -> tuple[str, float]:
        """Greedy CTC decoding of [time, symbols]: repeats are one, blanks none."""
        best = probability.argmax(axis=1)
        kept = best != BLANK
        kept[1:] &= best[1:] != best[:-1]
        if not kept.any():
            return "", 0.0
        return "".join(self.alphabet[best[kept]]), float(probability.max(axis=1)[kept].mean())


def together(lines: Mapping[int, Image.Image], widths: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """The width that lines are read at, and the rows of those that are read in one call."""
    groups: dict[int, list[int]] = {}
    for row, line in lines.items():
        wanted = int(widths[row]) or pictures.scaled_width(line, HEIGHT)
        groups.setdefault(min(MOST_WIDTH, max(LEAST_WIDTH, wanted)), []).append(row)
    for width, rows in groups.items():
        size = max(1, COLUMNS // width)
        for start in range(0, len(rows), size):
            yield width, rows[start : start + size]
