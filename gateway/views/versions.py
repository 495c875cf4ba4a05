"""What an operator does with a model's versions: load, unload, label, split, promote, roll back.

Each is a wish in the store; workers and other gateways act on it within about a second.
"""

import math
from typing import Any, NoReturn

import msgspec
from flask import Response, request

from errors import Fault, InvalidInput, NotFound, NotLoaded, UnknownModel, VersionConflict
from gateway import bodies
from gateway.answers import answer
from gateway.choosing import Choice
from gateway.json_bodies import read_whole
from gateway.parts import Parts
from gateway.routes import Answer, Body, Route
from gateway.views.models import Model, ModelViews
from storage.deployments import Deployment


class VersionWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A version, by name or by a label of the model."""

    version: str | int


_version = msgspec.json.Decoder(VersionWish)
_traffic = msgspec.json.Decoder(dict[str, float])


class VersionViews:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.models = ModelViews(parts)

    def load(self, name: str, version: str) -> Response:
        self.parts.resolver.look()
        self.parts.catalog.get(name, version)
        self.parts.deployments.change(name, lambda wish: wish.load(version))
        return self.answer(name, version, status=202)

    def unload(self, name: str, version: str) -> Response:
        self.parts.resolver.look()
        self.parts.catalog.get(name, version)
        self.parts.deployments.change(name, lambda wish: wish.unload(version))
        return self.answer(name, version, status=202)

    def label(self, name: str, label: str) -> Response:
        choice = self.choice(name)
        version = self.ready(name, choice, self.asked(choice))
        if label in (entry.version for entry in self.parts.catalog.models[name]):
            raise VersionConflict(f"{label!r} is a version of model {name!r}: choose another label")
        self.parts.deployments.change(name, lambda wish: wish.label(label, version, before=default(choice)))
        return self.answer(name)

    def unlabel(self, name: str, label: str) -> Response:
        self.choice(name)

        def step(wish: Deployment) -> Deployment:
            if label not in wish.labels:
                raise NotFound(f"model {name!r} has no label {label[:80]!r}")
            return wish.unlabel(label)

        self.parts.deployments.change(name, step)
        return self.answer(name)

    def traffic(self, name: str) -> Response:
        choice = self.choice(name)
        weights: dict[str, float] = {}
        for given, weight in read_whole(self.body(), _traffic).items():
            if not (weight >= 0 and math.isfinite(weight)):
                fault = Fault(f"#/{given[:80]}", "must be a number that is not negative")
                raise InvalidInput(f"the weight of {given[:80]!r} {fault.detail}", faults=[fault])
            version = choice.deployment.labels.get(given, given)
            weights[version] = weights.get(version, 0.0) + weight
        for version, weight in weights.items():
            if weight > 0:
                self.ready(name, choice, version)
            else:
                self.parts.catalog.get(name, version)
        self.parts.deployments.change(name, lambda wish: wish.split(weights))
        return self.answer(name)

    def promote(self, name: str) -> Response:
        choice = self.choice(name)
        version = self.ready(name, choice, self.asked(choice))
        self.parts.deployments.change(name, lambda wish: wish.promote(version, before=default(choice)))
        return self.answer(name)

    def rollback(self, name: str) -> Response:
        choice = self.choice(name)

        def step(wish: Deployment) -> Deployment:
            back = wish.rollback()
            self.ready(name, choice, back.labels["stable"])
            return back

        self.parts.deployments.change(name, step)
        return self.answer(name)

    def choice(self, name: str) -> Choice:
        self.parts.resolver.look()
        return self.parts.resolver.choice(name)

    def body(self) -> bytes:
        bodies.require(request.environ, "application/json")
        return bodies.read(request.environ, self.parts.settings.max_body_bytes)

    def asked(self, choice: Choice) -> str:
        """The version that the body names, or that the label means which it names."""
        version = str(read_whole(self.body(), _version).version)
        return choice.deployment.labels.get(version, version)

    def ready(self, name: str, choice: Choice, version: str) -> str:
        """The version itself; raises UnknownModel, or NotLoaded unless a worker has it ready."""
        self.parts.catalog.get(name, version)
        if version not in choice.ready:
            not_ready(name, choice, version)
        return version

    def answer(self, name: str, version: str | None = None, *, status: int = 200) -> Response:
        """The model as it is now, in this gateway at once."""
        return answer(self.models.show(name, version, self.models.workers()), status)


def default(choice: Choice) -> str:
    """Where most jobs go that ask for no version."""
    return choice.main.version if choice.split else ""


def not_ready(name: str, choice: Choice, version: str) -> NoReturn:
    state = next((one for one in choice.states() if one.version == version), None)
    if state is None:
        raise UnknownModel(f"model {name!r} has no version {version[:80]!r}")
    if state.state == "loading":
        raise NotLoaded(f"version {version} of model {name!r} is loading: try again when it is ready")
    if state.state == "failed":
        raise NotLoaded(f"version {version} of model {name!r} could not be loaded: {state.reason}")
    if state.state == "no_worker":
        raise NotLoaded(f"no worker serves version {version} of model {name!r}: is one running for its pool?")
    raise NotLoaded(f"version {version} of model {name!r} is not loaded: penstock models load {name} {version}")


def routes(parts: Parts) -> list[Route]:
    views = VersionViews(parts)
    model: dict[str, Any] = {"content": {"application/json": Model}}
    done = {200: Answer(description="The model as it is now", **model)}
    begun = {202: Answer(description="The model in that version; workers act within a second", **model)}
    one = Body(content={"application/json": VersionWish})
    refused = ("unknown_model", "not_loaded", "version_conflict")
    wrong = ("malformed_body", "invalid_input", "unsupported_media_type", "payload_too_large")
    path = "/v1/models/<name>"
    return [
        Route(
            method="POST", path=path + "/versions/<version>/load", view=views.load, name="loadVersion", tag="models",
            summary="Serve a version, whatever the policy says", scope="admin",
            answers=begun, errors=("unknown_model",),
        ),
        Route(
            method="POST", path=path + "/versions/<version>/unload", view=views.unload, name="unloadVersion",
            tag="models", summary="Serve a version no more",
            description=(
                "No job is accepted for it from now on; those that were are run, and then its processes end. Refused "
                "while a label or a share of the traffic points at it."
            ),
            answers=begun, errors=("unknown_model", "version_conflict"), scope="admin",
        ),
        Route(
            method="PUT", path=path + "/labels/<label>", view=views.label, name="labelVersion", tag="models",
            summary="Point a label at a version that is ready",
            description="Jobs may ask for a label in place of a version; those that ask for none get `stable`.",
            body=one, answers=done, errors=(*refused, *wrong), scope="admin",
        ),
        Route(
            method="DELETE", path=path + "/labels/<label>", view=views.unlabel, name="deleteLabel", tag="models",
            summary="Take a label away", answers=done, errors=("unknown_model", "not_found"), scope="admin",
        ),
        Route(
            method="PUT", path=path + "/traffic", view=views.traffic, name="splitTraffic", tag="models",
            summary="Split the jobs that ask for no version",
            description="Versions or labels to weights, e.g. `{\"1\": 90, \"2\": 10}`; `{}` ends the split.",
            body=Body(
                content={
                    "application/json": {
                        "type": "object", "additionalProperties": {"type": "number", "minimum": 0},
                    }
                }
            ),
            answers=done, errors=(*refused, *wrong), scope="admin",
        ),
        Route(
            method="POST", path=path + "/promote", view=views.promote, name="promoteVersion", tag="models",
            summary="Send every job that asks for no version to one that is ready",
            description="It becomes `stable`, a split ends, and what was before stays loaded for a rollback.",
            body=one, answers=done, errors=(*refused, *wrong), scope="admin",
        ),
        Route(
            method="POST", path=path + "/rollback", view=views.rollback, name="rollbackModel", tag="models",
            summary="Undo the last promotion", answers=done, errors=refused, scope="admin",
        ),
    ]  # fmt: skip
