"""Runtimes by name. Each is a leaf module, imported only in an executor that needs it."""

RUNTIMES = {
    "onnx": "models.runtimes.onnx_",
    "openvino": "models.runtimes.openvino_",
    "torch": "models.runtimes.torch_",
    "python": "models.runtimes.python_",
}
