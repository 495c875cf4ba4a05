"""The models that the gateway's tests submit to; nobody runs them."""

from pathlib import Path

MODELS = {
    "echo": """\
name: echo
runtime: python
description: gives back what it gets
inputs: [{name: x, datatype: FP32, shape: [-1, 4]}]
outputs: [{name: y, datatype: FP32, shape: [-1, 4]}]
limits: {timeout_s: 30, max_attempts: 3}
example: {x: [0, 1, 2, 3]}
""",
    "reader": """\
name: reader
runtime: python
version_policy: all
inputs: [{name: image, datatype: BYTES, shape: [-1]}]
outputs: [{name: text, datatype: BYTES, shape: [-1]}]
""",
    "weighed": """\
name: weighed
runtime: python
inputs: [{name: text, datatype: BYTES, shape: [-1]}, {name: image, datatype: UINT8, shape: [-1, -1, -1]}]
outputs: [{name: score, datatype: FP32, shape: [-1]}]
batching: {weight: {input: text, unit: characters, per: 4}}
""",
    "pair": """\
name: pair
runtime: python
inputs: [{name: text, datatype: BYTES, shape: [-1]}, {name: weight, datatype: FP32, shape: [-1]}]
outputs: [{name: score, datatype: FP32, shape: [-1]}]
""",
    "narrow": """\
name: narrow
runtime: python
inputs: [{name: x, datatype: FP32, shape: [-1]}]
outputs: [{name: y, datatype: FP32, shape: [-1]}]
limits: {queue: 2}
""",
    "broken": "name: broken\nruntime: python\ninputs: [{name: x, datatype: FLOAT, shape: [-1]}]\n",
}
VERSIONS = {"reader": ("1", "2")}


def build(folder: Path) -> Path:
    for name, manifest in MODELS.items():
        for version in VERSIONS.get(name, ("1",)):
            (folder / name / version).mkdir(parents=True)
        (folder / name / "model.yaml").write_text(manifest)
        (folder / name / "handler.py").write_text("class Model: ...\n")
    return folder
