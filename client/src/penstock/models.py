"""`client.models`: what the farm can run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from penstock.errors import UnexpectedAnswer
from penstock.job import known

if TYPE_CHECKING:
    from penstock.transport import Transport


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output of a model."""

    name: str
    #: In Open Inference Protocol terms: FP32, INT64, BYTES, …
    datatype: str = ""
    #: -1 for a free dimension; a leading -1 is the row axis.
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A model of the repository, in the version that a job without one gets."""

    name: str
    #: ready, loading, failed, no_worker, or broken where its manifest is.
    state: str | None = None
    #: Why it failed or is broken.
    reason: str | None = None
    description: str = ""
    version: str | None = None
    versions: tuple[str, ...] = ()
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    pools: tuple[str, ...] = ()
    #: The model object as it was received: limits, batching, example, workers, statistics.
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> "Model":
        values = known(cls, data)
        for name in ("inputs", "outputs"):
            values[name] = tuple(tensor(item) for item in values.get(name, ()))
        for name in ("versions", "pools"):
            values[name] = tuple(str(item) for item in values.get(name, ()))
        return cls(**values | {"raw": data})


def tensor(data: Mapping[str, Any]) -> Tensor:
    return Tensor(str(data.get("name", "")), str(data.get("datatype", "")), tuple(data.get("shape") or ()))


class Models:
    """The models that this client may use."""

    def __init__(self, transport: "Transport") -> None:
        self._transport = transport

    def list(self) -> "list[Model]":
        page = self._transport.send("GET", "/v1/models").json()
        if not isinstance(page, dict) or not isinstance(page.get("data"), list):
            raise UnexpectedAnswer("the answer is no list of models: is this address a Penstock gateway?")
        return [Model.parse(item) for item in page["data"]]

    def get(self, name: str, version: str | None = None) -> Model:
        """One model; raises UnknownModel."""
        path = f"/v1/models/{quote(name, safe='')}" + (f"/versions/{quote(version, safe='')}" if version else "")
        return Model.parse(self._transport.send("GET", path).json())
