"""Unpack the network that finds text."""

from pathlib import Path

from models.examples.pp_ocr import network
from models.wheels import Wheels


def build(folder: Path, wheels: Wheels) -> str:
    """Fill the version's folder."""
    return network("ch_PP-OCRv4_det_infer.onnx", folder, wheels)
