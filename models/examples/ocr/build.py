"""Unpack the three networks of PP-OCRv4; there is nothing to train or convert."""

from pathlib import Path

from models.wheels import Wheels, unpack

PACKAGE = "rapidocr-onnxruntime"
RELEASE = "1.4.4"
SHA256 = "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf"
MEMBERS = {
    "detect.onnx": "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
    "turn.onnx": "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
    "read.onnx": "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
}


def build(folder: Path, wheels: Wheels) -> str:
    """Fill the version's folder."""
    with wheels.get(PACKAGE, RELEASE, SHA256) as wheel:
        for name, member in MEMBERS.items():
            unpack(wheel, member, folder / name)
    return f"networks of {PACKAGE} {RELEASE}"
