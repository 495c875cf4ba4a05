"""What a model's file says of itself: inputs, outputs, and sizes with which it runs.

One leaf module a format. They import the model's library, which may crash on a file that is broken, so that all of it
runs in a process of its own: `python -m models.describing FORMAT FILE ANSWER INPUTS`.
"""

import msgspec

#: Formats by a file's ending.
FORMATS = {
    ".onnx": "onnx",
    ".pt2": "torch",
    ".xml": "openvino",
    ".tflite": "openvino",
}


class Port(msgspec.Struct, frozen=True):
    """An input or an output, as `models.manifest.Tensor` will have it."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Description(msgspec.Struct, frozen=True):
    """What a manifest is written from."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    #: Sizes of each input with which the model has run.
    sizes: tuple[tuple[int, ...], ...]
    #: Further files that it reads, relative to the file's folder.
    beside: tuple[str, ...] = ()
    #: The manifest's `options` without which its runtime would not take the file.
    options: dict[str, bool] = {}


class Refused(msgspec.Struct, frozen=True):
    """Why a file cannot be described."""

    reason: str
