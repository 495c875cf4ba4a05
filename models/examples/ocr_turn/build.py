"""Unpack the network that tells which way up a line is."""

from pathlib import Path

from models.examples.pp_ocr import network
from models.wheels import Wheels


def build(folder: Path, wheels: Wheels) -> str:
    """Fill the version's folder."""
    return network("ch_ppocr_mobile_v2.0_cls_infer.onnx", folder, wheels)
