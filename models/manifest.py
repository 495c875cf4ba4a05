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


class Weight(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How heavy a row is, as its input tells before anything has run."""

    #: The input that is measured.
    input: str
    #: `elements` of a row of numbers, `characters` of a text (bytes where it is b64), `pixels` of a picture file.
    unit: Literal["elements", "characters", "pixels"]
    #: So many units weigh 1: about 4 characters are a token.
    per: Annotated[float, msgspec.Meta(gt=0)] = 1
    #: No row weighs more, because the model cuts or scales down what is larger. A row behind a reference, which
    #: nobody has looked at, is taken to weigh so much.
    most: Positive | None = None


class Batching(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many rows a model sees at once."""

    #: Rows in one call of the model; a job with more rows is run in several calls.
    max_items: Positive = 8
    #: Upper bound of a batch's weight (its rows times the weight of the heaviest); None: no bound.
    max_weight: Positive | None = None
    #: What a row weighs; None: the elements of the longest padded input, or 1 where none is padded.
    weight: Weight | None = None
    #: How long a batch may take, in milliseconds: it is made as large as the measured cost allows; None: no bound.
    target_ms: Annotated[float, msgspec.Meta(gt=0)] | None = None
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


#: `inputs.<name>` or `<step>.<output>`; of several, the first one that is not absent.
SourceNames = str | tuple[str, ...]


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model's part in a pipeline; `models.graph` says when and on what it runs."""

    name: str
    model: str
    #: None: the newest one that is served.
    version: str | int | None = None
    #: The model's inputs and where each comes from.
    inputs: dict[str, SourceNames]
    #: A source whose rows are lists of items: the model runs once an item, and outputs are gathered in their order.
    for_each: str = ""
    #: BOOL sources: the model runs only where the first is true, and where the second is not.
    when: str = ""
    unless: str = ""
    #: Outputs of a row or item that is not run, for those that are not to be absent.
    otherwise: dict[str, Any] = {}


#: What the runtime of a pipeline is called.
PIPELINE = "pipeline"


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """A model's signature and how it is run."""

    name: str
    #: A pipeline runs other models.
    kind: Literal["model", "pipeline"] = "model"
    #: A name of `models.runtimes.RUNTIMES`; of a pipeline, PIPELINE.
    runtime: str = ""
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
    #: Of a pipeline: the models it runs, and which of their outputs (or of its own inputs) are its outputs.
    steps: tuple[Step, ...] = ()
    results: dict[str, SourceNames] = {}

    @cached_property
    def rowed(self) -> bool:
        """True where the first axis of every tensor counts rows, so that jobs can share a batch."""
        return all(tensor.shape[:1] == (-1,) for tensor in (*self.inputs, *self.outputs))

    @cached_property
    def unscorable(self) -> str:
        """Why rows of a table cannot be run through it as a shard, for whoever asked for that; empty: they can."""
        if self.kind == "pipeline":
            return f"{self.name!r} is a pipeline: score the models of its steps, or send its rows as jobs"
        if not self.rowed:
            return f"{self.name!r} does not count rows on the first axis of each tensor: send its rows as jobs"
        return ""

    @cached_property
    def weighed(self) -> tuple[Weight, ...]:
        """What tells a row's weight before anything has run; the heaviest counts."""
        if self.batching.weight is not None:
            return (self.batching.weight,)
        padded = self.batching.pad
        return tuple(Weight(t.name, "elements") for t in self.inputs if t.name in padded and t.datatype != "BYTES")

    @cached_property
    def shaped(self) -> tuple[Tensor, ...]:
        """Inputs whose rows may differ in shape and are not padded, so that only equal ones share a batch."""
        padded = self.batching.pad
        numeric = [t for t in self.inputs if t.datatype != "BYTES" and t.name not in padded]
        return tuple(t for t in numeric if -1 in t.shape[1:]) if self.rowed else ()

    def input(self, name: str) -> Tensor:
        """The input of that name; raises KeyError."""
        return {tensor.name: tensor for tensor in self.inputs}[name]
