"""Whether the process lives, and whether the farm could take and run a job of every model now."""

from collections.abc import Callable
from typing import Any

import msgspec
from flask import Response, request

from errors import PenstockError
from gateway.answers import answer, encode
from gateway.asked import Asked, Reply
from gateway.authentication import is_loopback
from gateway.parts import Parts
from gateway.routes import Answer, Route
from storage.workers import ModelStatus, WorkerStatus


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that must be so before the farm is ready."""

    ready: bool
    reason: str = ""


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Ready when every check is. Models with a broken manifest are named, and waited for by nobody."""

    status: str
    broker: Check
    store: Check
    objects: Check
    #: By `<model>/<version>`: the version, or versions, that jobs go to which ask for none.
    models: dict[str, Check]
    #: By model: why its manifest cannot be used.
    broken: dict[str, str]


class HealthViews:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    async def live(self, asked: Asked) -> Reply:
        return Reply(200, encode({"status": "ok"}), {})

    def ready(self) -> Response:
        workers: list[WorkerStatus] = []

        def ask_store() -> None:
            workers.extend(self.parts.resolver.look())

        store = probe(ask_store)
        readiness = Readiness(
            status="ready",
            store=store,
            broker=probe(self.parts.publisher.ready),
            objects=probe(self.parts.objects.ready),
            models=self.models(workers),
            broken={broken.name: broken.reason for broken in self.parts.catalog.broken},
        )
        checks = [readiness.store, readiness.broker, readiness.objects, *readiness.models.values()]
        if all(check.ready for check in checks):
            return answer(self.told(readiness))
        return answer(self.told(msgspec.structs.replace(readiness, status="not_ready")), 503, {"Retry-After": "1"})

    def told(self, readiness: Readiness) -> Readiness:
        """All of it to whoever has a key or asks from this machine; else what a load balancer needs."""
        if self.trusted():
            return readiness
        parts = (readiness.store, readiness.broker, readiness.objects)
        store, broker, objects = (Check(part.ready) for part in parts)
        return Readiness(status=readiness.status, store=store, broker=broker, objects=objects, models={}, broken={})

    def trusted(self) -> bool:
        environ = request.environ
        # What came through a proxy came from elsewhere, wherever the proxy stands.
        forwarded = any(name in environ for name in ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_VIA"))
        if is_loopback(environ.get("REMOTE_ADDR", "")) and not forwarded:
            return True
        try:
            self.parts.authentication.grant(environ)
        except PenstockError:
            return False
        return True

    def models(self, workers: list[WorkerStatus]) -> dict[str, Check]:
        found: dict[str, list[ModelStatus]] = {}
        for worker in workers:
            for status in worker.models:
                found.setdefault(f"{status.model}/{status.version}", []).append(status)
        resolver = self.parts.resolver
        return {
            name: served(found.get(name, []))
            for model in resolver.catalog.models
            for version in resolver.choice(model).split
            for name in [f"{model}/{version}"]
        }


def probe(ask: Callable[[], Any]) -> Check:
    try:
        ask()
    except PenstockError as error:
        return Check(False, error.detail)
    return Check(True)


def served(statuses: list[ModelStatus]) -> Check:
    """Ready on some worker, or the best reason why on none."""
    if any(status.state == "ready" for status in statuses):
        return Check(True)
    if not statuses:
        return Check(False, "no worker serves it")
    failed = [status.reason for status in statuses if status.state == "failed"]
    return Check(False, f"it could not be loaded: {failed[0]}" if failed else "it is loading")


def routes(parts: Parts) -> list[Route]:
    views = HealthViews(parts)
    return [
        Route(
            method="GET", path="/livez", view=views.live, name="live", tag="operations", public=True, quick=True,
            summary="Whether this process lives",
            answers={200: Answer(description="It does")},
        ),
        Route(
            method="GET", path="/readyz", view=views.ready, name="ready", tag="operations", public=True,
            summary="Whether broker, store, objects and every model are ready",
            description=(
                "Every model means, of each, what its jobs go to that ask for no version. One that could not be loaded "
                "keeps the farm unready and says why; one with a broken manifest is named, and nothing waits for it. "
                "Reasons, and what there is of models, are told with a key, or on the gateway's own machine."
            ),
            answers={
                200: Answer(description="Ready", content={"application/json": Readiness}),
                503: Answer(description="Not ready, and why", content={"application/json": Readiness}),
            },
        ),
    ]  # fmt: skip
