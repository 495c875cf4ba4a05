"""Execution providers of ONNX Runtime: which are asked for, and why one was not got.

`options.providers` of a manifest, the best first, by name or as `{name: {option: value}}`; those that do not run on
the executor's device are passed over, so that one list serves both pools. Default: CUDA on a GPU, CPU on a CPU.
"""

import contextlib
import ctypes
import io
from pathlib import Path
from typing import Any

import onnxruntime as ort

from errors import LoadError

#: A manifest's name: what ONNX Runtime calls it, where it runs, its library beside ONNX Runtime's own.
KNOWN = {
    "TensorRT": ("TensorrtExecutionProvider", "cuda", "libonnxruntime_providers_tensorrt.so"),
    "CUDA": ("CUDAExecutionProvider", "cuda", "libonnxruntime_providers_cuda.so"),
    "OpenVINO": ("OpenVINOExecutionProvider", "cpu", "libonnxruntime_providers_openvino.so"),
    "CPU": ("CPUExecutionProvider", "any", ""),
}
#: Options that hold unless the manifest says otherwise.
DEFAULTS: dict[str, dict[str, Any]] = {
    "CUDA": {
        # Memory in the sizes asked for: several executors share one GPU.
        "arena_extend_strategy": "kSameAsRequested",
        # The default, EXHAUSTIVE, tries every algorithm anew for every shape; batches come in many.
        "cudnn_conv_algo_search": "HEURISTIC",
    },
}
#: A provider of a manifest: its name there, and its options.
Provider = tuple[str, dict[str, Any]]


def wanted(options: dict[str, Any], device: str) -> list[Provider]:
    """The providers to ask for on `device` (`cpu`, `cuda` or `cuda:1`), the best first; raises LoadError."""
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or not (index or "0").isdecimal():
        raise LoadError(f"runtime 'onnx' knows the devices cpu and cuda[:n], not {device!r}")
    listed = options.get("providers", ["CUDA" if kind == "cuda" else "CPU"])
    if not isinstance(listed, list) or not listed:
        raise LoadError(f"options.providers must be a list of {', '.join(KNOWN)}, not {listed!r}")
    fitting = [provider for provider in map(parsed, listed) if KNOWN[provider[0]][1] in (kind, "any")]
    if not any(KNOWN[name][1] == kind for name, _ in fitting) and (kind == "cuda" or not fitting):
        raise LoadError(
            f"none of options.providers, {[name for name, _ in map(parsed, listed)]}, uses {device}: "
            f"name one that does, or take the pool out of `pools`"
        )
    where = {"device_id": int(index or 0)} if kind == "cuda" else {}
    return [
        (name, DEFAULTS.get(name, {}) | (where if KNOWN[name][1] == "cuda" else {}) | given) for name, given in fitting
    ]


def parsed(listed: object) -> Provider:
    """One item of `options.providers`; raises LoadError."""
    name, given = next(iter(listed.items())) if isinstance(listed, dict) and len(listed) == 1 else (listed, {})
    if not isinstance(name, str) or name not in KNOWN:
        raise LoadError(f"options.providers: {name!r} is none of {', '.join(KNOWN)}")
    if given is not None and not isinstance(given, dict):
        raise LoadError(f"options.providers: the options of {name} must map names to values, not {given!r}")
    return name, dict(given or {})


def require(providers: list[Provider]) -> list[tuple[str, dict[str, Any]]]:
    """The providers as ONNX Runtime takes them; raises LoadError where one cannot be used on this machine."""
    if any(KNOWN[name][1] == "cuda" for name, _ in providers) and hasattr(ort, "preload_dlls"):
        # CUDA and cuDNN may come as wheels, beside torch, where the loader does not look. It prints what it misses.
        with contextlib.redirect_stdout(io.StringIO()):
            ort.preload_dlls()
    for name, _ in providers:
        if reason := unusable(name):
            raise LoadError(missed(name, reason))
    return [(KNOWN[name][0], given) for name, given in providers]


def unusable(name: str) -> str:
    """Why this machine cannot offer a provider; empty where nothing speaks against it."""
    official, kind, library = KNOWN[name]
    if official not in ort.get_available_providers():
        return f"this ONNX Runtime was built without it; it has {', '.join(ort.get_available_providers())}"
    if kind == "cuda" and (reason := unloadable("libcuda.so.1")):
        return f"there is no NVIDIA driver: {reason}"
    beside = Path(ort.__file__).parent / "capi"
    if library and (beside / library).is_file():
        # In the order and the modes in which ONNX Runtime itself loads them.
        shared = unloadable(str(beside / "libonnxruntime_providers_shared.so"), ctypes.RTLD_GLOBAL)
        return shared or unloadable(str(beside / library))
    return ""


def unloadable(library: str, mode: int = ctypes.DEFAULT_MODE) -> str:
    """What the dynamic loader says against a library; empty where it loads."""
    try:
        ctypes.CDLL(library, mode=mode)
    except OSError as error:
        return str(error)
    return ""


def hold(session: ort.InferenceSession, providers: list[Provider]) -> None:
    """Ask the session what it really got; raises LoadError where that is less than was asked for."""
    got = session.get_providers()
    for name, _ in providers:
        if KNOWN[name][0] not in got:
            raise LoadError(missed(name, f"the session has {', '.join(got)}; ONNX Runtime's log may say why"))
    on_gpu = [name for name, _ in providers if KNOWN[name][1] == "cuda"]
    shares = nodes(session)
    if on_gpu and shares and not any(KNOWN[name][0] in shares for name in on_gpu):
        raise LoadError(missed(on_gpu[0], f"not one node of the graph runs there, all run on {', '.join(shares)}"))


def nodes(session: ort.InferenceSession) -> dict[str, int]:
    """How many nodes of the graph each provider has; empty where this ONNX Runtime cannot tell."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return {}
    shares: dict[str, int] = {}
    for part in session.get_provider_graph_assignment_info():
        shares[part.ep_name] = shares.get(part.ep_name, 0) + len(part.get_nodes())
    return shares


def missed(name: str, reason: str) -> str:
    return (
        f"ONNX Runtime cannot use {name}: {reason}. Install what is missing, or change `options.providers` or `pools`; "
        "it never falls back to the CPU by itself"
    )
