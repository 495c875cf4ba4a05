"""Text to tokens; the network does the rest."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from errors import InvalidInput

#: What the model was trained with; later tokens are cut off.
MAX_TOKENS = 256


class Handler:
    def __init__(self, folder: Path) -> None:
        # One thread for each executor: the farm's parallelism is in its processes.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(MAX_TOKENS)
        # The runtime pads each batch to its own longest row.
        self.tokenizer.no_padding()

    def preprocess(self, inputs: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
        rows = [encoded.ids for encoded in self.tokenizer.encode_batch_fast([text(row) for row in inputs["text"]])]
        return {
            "input_ids": [np.array(ids, dtype=np.int64) for ids in rows],
            "attention_mask": [np.ones(len(ids), dtype=np.int64) for ids in rows],
        }


def text(row: str | bytes) -> str:
    try:
        return row if isinstance(row, str) else row.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"text must be UTF-8: {error}") from error
