"""What a model says about itself: the content of its `model.yaml`, as frozen records.

Light on purpose: the gateway imports this, so no numpy and no model library. `models.reading` makes
these records from a file; `docs/models.md` explains every key.
"""

from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec

Positive = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]


class Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One input or output."""

    name: str
    #: A name of `models.datatypes.DATATYPES`.
    datatype: str
    #: Sizes; -1 is variable. The first axis of a model that takes rows is -1.
    shape: tuple[int, ...]
    description: str = ""
    #: Whether NaN and the infinities are legal values.
    nan: bool = False


class Batching(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many rows a model sees at once."""

    #: Rows in one call of the model; a job with more rows is run in several calls.
    max_items: Positive = 8
    #: Upper bound of a batch's weight (rows times padded length); None: no bound.
    max_weight: Positive | None = None
    #: How long an idle executor waits for more rows, in milliseconds.
    max_wait_ms: NotNegative = 0
    #: Runtime tensors whose variable axes are filled up to the longest of the batch, and with what.
    pad: dict[str, float] = {}


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a job of this model ends, and how many may wait."""

    timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 60
    max_attempts: Positive = 3
    #: Jobs that may wait before the gateway answers 429.
    queue: Positive = 10000
    #: Memory of one executor in MiB; None: no bound.
    memory_mb: Positive | None = None


class VersionPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which of a model's versions are served; one of the two is given."""

    #: The newest so many.
    latest: Positive | None = None
    #: These, by name.
    specific: Annotated[tuple[str | int, ...], msgspec.Meta(min_length=1)] | None = None


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """A model's signature and how it is run."""

    name: str
    #: A name of `models.runtimes.RUNTIMES`.
    runtime: str
    inputs: Annotated[tuple[Tensor, ...], msgspec.Meta(min_length=1)]
    outputs: Annotated[tuple[Tensor, ...], msgspec.Meta(min_length=1)]
    description: str = ""
    pools: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("cpu",)
    batching: Batching = Batching()
    #: Executors for each worker.
    instances: Positive = 1
    #: Threads of one executor's runtime.
    threads: Positive = 1
    limits: Limits = Limits()
    #: `all`, or which versions are served; said in the model's own manifest, never in a version's.
    version_policy: Literal["all"] | VersionPolicy = VersionPolicy(latest=1)
    #: Inputs that satisfy the signature: run as warm-up, shown to users.
    example: dict[str, Any] | None = None
    license: str = ""
    source: str = ""
    #: For the runtime or the handler; never looked at by Penstock itself.
    options: dict[str, Any] = {}

    @cached_property
    def rowed(self) -> bool:
        """True where the first axis of every tensor counts rows, so that jobs can share a batch."""
        return all(tensor.shape[:1] == (-1,) for tensor in (*self.inputs, *self.outputs))
