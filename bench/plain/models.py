"""The models by hand: the library that runs them, called directly, with nothing between.

The plain app's workers hold one each, preloaded; `bench.ceiling` runs them in a loop, as the best that one machine
can do.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from PIL import Image
from tokenizers import Tokenizer

Array = npt.NDArray[Any]
#: Tokens after this one are cut off, as the model was trained.
MAX_TOKENS = 256


class Model(Protocol):
    def predict(self, rows: Sequence[Any]) -> Array:
        """Rows of one input each to rows of output."""


class Echo:
    """Rows of numbers, to themselves."""

    def __init__(self, folder: Path, threads: int) -> None:
        pass

    def predict(self, rows: Sequence[list[float]]) -> Array:
        return np.asarray(rows, dtype=np.float32)


class MiniLM:
    """Sentences to embeddings."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.tokenizer.enable_padding()
        self.session = session(folder, threads)

    def predict(self, rows: Sequence[str]) -> Array:
        encoded = self.tokenizer.encode_batch_fast(list(rows))
        ids = np.array([one.ids for one in encoded], dtype=np.int64)
        mask = np.array([one.attention_mask for one in encoded], dtype=np.int64)
        embeddings: Array = self.session.run(["embedding"], {"input_ids": ids, "attention_mask": mask})[0]
        return embeddings


class Cnn:
    """Pictures, JPEG files or pixels uint8 [224, 224, 3], to logits."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.session = session(folder, threads)

    def predict(self, rows: Sequence[bytes | Array]) -> Array:
        images = np.stack([decoded(row) if isinstance(row, bytes) else row for row in rows])
        logits: Array = self.session.run(["logits"], {"image": images})[0]
        return logits


def decoded(file: bytes) -> Array:
    with Image.open(io.BytesIO(file)) as picture:
        return np.asarray(picture.convert("RGB"))


def session(folder: Path, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])


MODELS: dict[str, type[Echo] | type[MiniLM] | type[Cnn]] = {"echo": Echo, "minilm": MiniLM, "cnn": Cnn, "pixels": Cnn}


def load(name: str, folder: Path, threads: int = 1) -> Model:
    """The model `name` from its version's folder."""
    return MODELS[name](folder, threads)
