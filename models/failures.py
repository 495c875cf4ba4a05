"""What a model raised, as an error a client can read."""

import logging

from errors import ModelError, OutOfMemory, PenstockError

log = logging.getLogger(__name__)

#: How allocators of torch, ONNX Runtime, CUDA and C++ say that there is no memory left.
OUT_OF_MEMORY = (
    "out of memory", "failed to allocate memory", "can't allocate memory", "bad_alloc", "bad allocation",
    "status_alloc_failed", "is smaller than requested bytes",
)  # fmt: skip
#: What CUDA says when a kernel has broken this process's context: every later call fails too, whoever makes it
#: (CUDA Runtime API, "Data types used by CUDA Runtime": "the process must be terminated and relaunched").
BROKEN_DEVICE = (
    "device-side assert", "illegal memory access", "illegal address", "illegal instruction", "misaligned address",
    "hardware stack error", "unspecified launch failure", "launch failure", "launch timed out", "uncorrectable ecc",
)  # fmt: skip
#: Longest detail taken from a foreign exception, in characters.
MAX_DETAIL = 500


class DeviceBroken(Exception):
    """The GPU refuses all further work of this process, which must end: another one takes its place."""


def is_device_broken(error: BaseException) -> bool:
    """Whether no batch can succeed in this process any more."""
    words = str(error).lower()
    cuda = "cuda" in words or any("accelerator" in kind.__name__.lower() for kind in type(error).__mro__)
    return of_runtime(error) and cuda and any(said in words for said in BROKEN_DEVICE)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether running fewer rows may help."""
    if isinstance(error, (MemoryError, OutOfMemory)):
        return True
    # torch.OutOfMemoryError by name: only the torch runtime may import torch.
    if any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    return of_runtime(error) and any(words in str(error).lower() for words in OUT_OF_MEMORY)


def of_runtime(error: BaseException) -> bool:
    # ONNX Runtime's own exceptions are no RuntimeError, and its leaf file alone may import them.
    return isinstance(error, RuntimeError) or type(error).__module__.partition(".")[0] == "onnxruntime"


def translate(error: BaseException, model: str) -> PenstockError:
    """The error of our tree for whatever a handler or a runtime raised; the stack trace goes to the log only."""
    if isinstance(error, PenstockError):
        return error
    if is_out_of_memory(error):
        return OutOfMemory(f"model {model!r} ran out of memory on this job alone")
    log.error("model raised", extra={"model": model, "error": repr(error)[:MAX_DETAIL]}, exc_info=error)
    return ModelError(described(error))


def described(error: BaseException) -> str:
    """`TypeName: message`, cut and on one line's worth of characters."""
    message = str(error)[:MAX_DETAIL]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
