"""Which devices a worker's executors run on, told apart without loading CUDA: that would poison the children.

`CUDA_VISIBLE_DEVICES` after NVIDIA's CUDA Programming Guide, "CUDA Environment Variables": indices, `GPU-<uuid>` or
`MIG-<uuid>`, of which any unique beginning will do; what stands behind an invalid one is hidden.
"""

from collections.abc import Mapping
from glob import glob

from errors import OperatorError

VARIABLE = "CUDA_VISIBLE_DEVICES"
#: Device files, one a GPU: of the driver, and of its half inside WSL.
FILES = ("/dev/nvidia[0-9]*", "/dev/dxg")


def devices(pool: str, instances: int, gpus: int) -> list[str]:
    """A device for each executor of a model: CPU instances, or so many instances on every GPU."""
    if pool == "cpu":
        return ["cpu:0"] * instances
    return [f"cuda:{index}" for index in range(gpus) for _ in range(instances)]


def require_gpus(environment: Mapping[str, str], files: tuple[str, ...] = FILES) -> int:
    """How many GPUs this worker may use; raises OperatorError where there is none."""
    if found := visible(environment, files):
        return len(found)
    if VARIABLE in environment:
        why = f"{VARIABLE} is {environment[VARIABLE]!r}, which hides every GPU: name some, or take it away"
    else:
        why = "there is no /dev/nvidia0: is the driver installed, was the container started with its GPUs (--gpus all)?"
    raise OperatorError(f"pool 'gpu' needs a GPU, and this worker sees none: {why}")


def visible(environment: Mapping[str, str], files: tuple[str, ...] = FILES) -> list[str]:
    """The GPUs this process may use, each as CUDA_VISIBLE_DEVICES would name it; raises OperatorError on a double."""
    if VARIABLE not in environment:
        # CUDA numbers what it sees from 0, whatever the numbers of the files.
        return [str(index) for index in range(sum(len(glob(pattern)) for pattern in files))]
    named: list[str] = []
    for word in environment[VARIABLE].split(","):
        name = word.strip()
        if not (name.isdecimal() or name.startswith(("GPU-", "MIG-"))):
            break
        if name in named:
            raise OperatorError(f"{VARIABLE} names {name!r} twice, and CUDA then sees no GPU at all: name it once")
        named.append(name)
    return named


#: What an executor does not get, as such or as a file: it has the object store's address by its order.
WITHHELD = frozenset(
    {"PENSTOCK_BROKER_URL", "PENSTOCK_REDIS_URL", "PENSTOCK_OBJECTS_URL", "PENSTOCK_SIGNING_KEY", "PENSTOCK_API_KEY"}
)


def child_environment(device: str, threads: int, environment: Mapping[str, str]) -> dict[str, str]:
    """An executor's environment: the worker's, with its one device and the thread counts libraries read at import."""
    # A model's own code has no use for what opens the broker and the store, or signs.
    made = {name: text for name, text in environment.items() if name.removesuffix("_FILE") not in WITHHELD}
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        made[name] = str(threads)
    kind, _, index = device.partition(":")
    # The child sees one GPU at most, so whatever its number it is number 0 there.
    chosen = visible(environment)[int(index)] if VARIABLE in environment and kind == "cuda" else index
    made[VARIABLE] = chosen if kind == "cuda" else ""
    return made
