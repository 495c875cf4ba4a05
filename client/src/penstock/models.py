"""`client.models`: what the farm can run."""

import json
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
class ModelVersion:
    """One version of a model, as the farm has it."""

    version: str = ""
    #: ready, loading, failed, draining, no_worker, not_loaded or broken.
    state: str = ""
    #: Why it failed or is broken.
    reason: str | None = None
    labels: tuple[str, ...] = ()
    #: Its share of the jobs that ask for no version, between 0 and 1.
    share: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A model of the repository, in the version that a job without one gets."""

    name: str
    #: ready, loading, failed, draining, no_worker, not_loaded, or broken where its manifest is.
    state: str | None = None
    #: Why it failed or is broken, or why another version is that should be served.
    reason: str | None = None
    description: str = ""
    version: str | None = None
    versions: tuple[str, ...] = ()
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    pools: tuple[str, ...] = ()
    version_states: tuple[ModelVersion, ...] = ()
    #: Label to version.
    labels: Mapping[str, str] = field(default_factory=dict)
    #: Version to weight, where the jobs that ask for no version are split.
    traffic: Mapping[str, float] = field(default_factory=dict)
    #: The version that a rollback would lead to.
    previous: str | None = None
    #: The model object as it was received: limits, batching, example, workers, statistics.
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> "Model":
        values = known(cls, data)
        for name in ("inputs", "outputs"):
            values[name] = tuple(tensor(item) for item in values.get(name, ()))
        for name in ("versions", "pools"):
            values[name] = tuple(str(item) for item in values.get(name, ()))
        values["version_states"] = tuple(version(item) for item in values.get("version_states", ()))
        return cls(**values | {"raw": data})


def tensor(data: Mapping[str, Any]) -> Tensor:
    return Tensor(str(data.get("name", "")), str(data.get("datatype", "")), tuple(data.get("shape") or ()))


def version(data: Mapping[str, Any]) -> ModelVersion:
    values = known(ModelVersion, data)
    return ModelVersion(**values | {"labels": tuple(values.get("labels", ()))})


class Models:
    """The models that this client may use; changing them takes an admin key."""

    def __init__(self, transport: "Transport") -> None:
        self._transport = transport

    def list(self) -> "list[Model]":
        page = self._transport.send("GET", "/v1/models").json()
        if not isinstance(page, dict) or not isinstance(page.get("data"), list):
            raise UnexpectedAnswer("the answer is no list of models: is this address a Penstock gateway?")
        return [Model.parse(item) for item in page["data"]]

    def get(self, name: str, version: str | None = None) -> Model:
        """One model; raises UnknownModel."""
        path = f"/versions/{quote(version, safe='')}" if version else ""
        return self._send("GET", name, path)

    def load(self, name: str, version: str) -> Model:
        """Serve a version whatever the policy says: the farm begins to within a second. Raises UnknownModel."""
        return self._send("POST", name, f"/versions/{quote(version, safe='')}/load")

    def unload(self, name: str, version: str) -> Model:
        """Serve a version no more: it runs what was accepted, and ends. Raises VersionConflict while it is used."""
        return self._send("POST", name, f"/versions/{quote(version, safe='')}/unload")

    def label(self, name: str, label: str, version: str) -> Model:
        """Point a label at a version; raises NotLoaded unless it is ready."""
        return self._send("PUT", name, f"/labels/{quote(label, safe='')}", {"version": version})

    def unlabel(self, name: str, label: str) -> Model:
        """Take a label away; raises NotFound where there is none."""
        return self._send("DELETE", name, f"/labels/{quote(label, safe='')}")

    def split(self, name: str, weights: Mapping[str, float]) -> Model:
        """Split the jobs that ask for no version between versions, or labels, by weight; none ends the split."""
        return self._send("PUT", name, "/traffic", dict(weights))

    def promote(self, name: str, version: str) -> Model:
        """Send every job that asks for no version to this one, or to the one a label means; raises NotLoaded."""
        return self._send("POST", name, "/promote", {"version": version})

    def rollback(self, name: str) -> Model:
        """Undo the last promotion; raises VersionConflict where there was none, NotLoaded where it cannot be."""
        # Not repeated when its answer is lost: a second one leads forth again.
        return self._send("POST", name, "/rollback", repeatable=False)

    def _send(self, method: str, name: str, path: str, body: object = None, *, repeatable: bool = True) -> Model:
        content = json.dumps(body).encode() if body is not None else None
        answer = self._transport.send(
            method,
            f"/v1/models/{quote(name, safe='')}{path}",
            headers={"Content-Type": "application/json"} if content else None,
            body=(lambda: content) if content else None,
            repeatable=repeatable,
        )
        return Model.parse(answer.json())
