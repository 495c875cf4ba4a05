"""What OpenVINO reads: its own format, and TensorFlow Lite."""

from pathlib import Path
from typing import Any

from errors import LoadError
from models.describing import Description, Port
from models.describing.trial import sizes
from models.runtimes.openvino_ import compiled, named

#: OpenVINO's names of element types (ov::element).
DATATYPES = {
    "boolean": "BOOL",
    "string": "BYTES",
    "f16": "FP16",
    "f32": "FP32",
    "f64": "FP64",
    **{f"i{bits}": f"INT{bits}" for bits in (8, 16, 32, 64)},
    **{f"u{bits}": f"UINT{bits}" for bits in (8, 16, 32, 64)},
}


def describe(file: Path) -> Description:
    """Raises LoadError for a model that Penstock cannot serve."""
    if file.suffix == ".xml" and not file.with_suffix(".bin").is_file():
        raise LoadError(f"{file.with_suffix('.bin')} is missing: its weights")
    model = compiled(file, {"INFERENCE_PRECISION_HINT": "f32"})
    inputs = tuple(port(one) for one in model.inputs)
    found = sizes(inputs, lambda feed: model({one: feed[port(one).name] for one in model.inputs}))
    return Description(inputs, tuple(port(one) for one in model.outputs), found)


def port(one: Any) -> Port:
    name, element = named(one, ()), one.get_element_type().get_type_name()
    if element not in DATATYPES:
        raise LoadError(f"{name!r} is {element}, which no datatype stands for")
    shape = tuple(-1 if size.is_dynamic else size.get_length() for size in one.get_partial_shape())
    return Port(name, DATATYPES[element], shape)
