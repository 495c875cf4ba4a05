"""Runtimes by name. Each is a leaf module, imported only in an executor that needs it."""

RUNTIMES = {
    "onnx": "models.runtimes.onnx_",
    "torch": "models.runtimes.torch_",
    "python": "models.runtimes.python_",
}
