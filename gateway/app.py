"""The gateway as a WSGI application, built from its parts."""

import gc
import logging
import os
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from flask import Flask, Response, g, request

import logs
from errors import OperatorError, StoreUnavailable
from gateway import problems
from gateway.answers import from_reply
from gateway.application import Application
from gateway.asked import Asked, request_id
from gateway.authentication import Authentication, require_keys
from gateway.browsers import ALWAYS
from gateway.front import Front
from gateway.inputs import Inputs
from gateway.links import Links
from gateway.parts import Parts
from gateway.quotas import Toll
from gateway.reading import Reader
from gateway.register import Register
from gateway.resolving import Resolver
from gateway.routes import Route, View
from gateway.submitting import Submitter
from gateway.tally import Tally
from gateway.views import (
    batch,
    collecting,
    deadletters,
    documents,
    events,
    health,
    jobs,
    listing,
    metrics,
    outcomes,
    uploads,
    versions,
    webhooks,
)
from gateway.views import deliveries as deliveries_
from gateway.views import models as models_
from gateway.views import objects as objects_
from gateway.views import queues as queues_
from gateway.views import refused as refused_
from gateway.views import scorings as scorings_
from gateway.waiting import Waiting
from lifeline import die_with_parent
from models.catalog import Catalog
from models.repository import Repository
from settings import Settings
from storage.access import Access
from storage.connection import connect
from storage.deadletters import DeadLetters
from storage.deliveries import Deliveries
from storage.deployments import Deployments
from storage.inputs import Buckets
from storage.jobs import JobStore
from storage.objects import Objects, open_objects
from storage.pins import Pins
from storage.quotas import Quotas
from storage.refused import Refused
from storage.scorings import Scorings
from storage.webhooks import Endpoints
from storage.workers import Workers
from tasks.message import LANES, queue_name
from tasks.publisher import Publisher
from tasks.signing import signing
from tasks.webhooks.addresses import Policy

log = logging.getLogger(__name__)

#: Objects made before the garbage collector looks at the youngest, and such looks before it looks at older ones.
GC_THRESHOLD = (50_000, 20, 50)
#: Long polls at once; each costs a few kilobytes.
WAITERS = 8192


def create_app(
    settings: Settings, *, jobs: JobStore, workers: Workers, objects: Objects, access: Access,
    repository: Repository, deployments: Deployments, publisher: Publisher, waiting: Waiting,
    endpoints: Endpoints, deliveries: Deliveries, dead_letters: DeadLetters, refused: Refused,
    quotas: Quotas, scorings: Scorings,
) -> Application:  # fmt: skip
    """The application over the parts given."""
    inputs = Inputs(objects, max_bytes=settings.max_object_bytes, announce=jobs.schedule_sweep)
    register = Register(workers)
    resolver = Resolver(repository, register=register, deployments=deployments)
    policy, toll = Policy.from_settings(settings), Toll(quotas)
    parts = Parts(
        settings=settings,
        jobs=jobs,
        reader=Reader(jobs),
        objects=objects,
        access=access,
        authentication=Authentication(access, settings),
        resolver=resolver,
        deployments=deployments,
        publisher=publisher,
        register=register,
        waiting=waiting,
        inputs=inputs,
        links=Links(access),
        tally=Tally(),
        endpoints=endpoints,
        deliveries=deliveries,
        dead_letters=dead_letters,
        toll=toll,
        refused=refused,
        scorings=scorings,
        pins=Pins(scorings.client, scorings.get),
        buckets=Buckets(settings),
        policy=policy,
        submitter=Submitter(
            jobs=jobs,
            inputs=inputs,
            resolver=resolver,
            publisher=publisher,
            policy=policy,
            toll=toll,
            deadline_s=settings.submit_deadline_s,
            signing=signing(settings),
        ),
    )
    app = Application("gateway", static_folder=None)
    app.extensions["penstock"] = parts
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    problems.install(app)
    table = all_routes(parts)
    watch_requests(app, table, parts)
    for route in table:
        view = through_flask(route.view) if route.quick else route.view
        app.add_url_rule(route.path, route.name, view, methods=[route.method], provide_automatic_options=False)
    return app


def through_flask(view: View) -> Callable[..., Coroutine[Any, Any, Response]]:
    """A quick view for a request that came by Flask."""

    async def call(**args: str) -> Response:
        return from_reply(await view(Asked(request.environ, id=g.request_id, tenant=g.get("tenant", "")), **args))

    return call


def all_routes(parts: Parts) -> list[Route]:
    families = (
        jobs,
        batch,
        collecting,
        listing,
        outcomes,
        events,
        deadletters,
        refused_,
        queues_,
        deliveries_,
        webhooks,
        objects_,
        uploads,
        scorings_,
        models_,
        versions,
        health,
        metrics,
    )
    table = [route for family in families for route in family.routes(parts)]
    table += documents.routes(table)
    return table


def watch_requests(app: Flask, table: list[Route], parts: Parts) -> None:
    """Give every request an id and a tenant, hold it to the tenant's quota, and count and time it."""
    authentication, tally, toll = parts.authentication, parts.tally, parts.toll
    needs = {route.name: route.scope for route in table}
    largest = {route.name: route.largest(parts.settings.max_body_bytes) for route in table}
    clock = time.perf_counter

    @app.before_request
    def before() -> None:
        g.began = clock()
        g.request_id = request_id(request.environ)
        # Without a rule it is a 404 or 405, which says nothing that a key would protect.
        if request.url_rule is not None and (scope := needs[str(request.endpoint)]) is not None:
            grant = authentication.allowed(request.environ, scope)
            g.tenant, g.scopes = grant.tenant, grant.scopes
            toll.enter_thread(g.tenant, request.environ, most=largest[str(request.endpoint)])

    @app.after_request
    def after(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.request_id
        for name, value in ALWAYS:
            response.headers.setdefault(name, value)
        if tenant := g.get("tenant"):
            with suppress(StoreUnavailable):
                toll.leave(tenant, request.environ)
        rule = request.url_rule
        method = request.method if rule is not None else "other"
        tally.add(method, rule.rule if rule is not None else "none", response.status_code, clock() - g.began)
        return response


def from_environment() -> Front:
    """What granian's workers load: the application that the environment describes."""
    # A server process that outlived granian's main one would keep the port, and nobody would stop it.
    die_with_parent(signal.SIGKILL)
    settings = Settings.from_env(os.environ)
    if not logging.getLogger().handlers:
        # A spawned process, unlike a forked one, has not inherited how its parent logs.
        logs.configure(settings, "gateway")
    try:
        app = from_settings(settings)
    except OperatorError as error:
        log.error("gateway cannot start", extra={"reason": error.detail})
        raise SystemExit(1) from error
    parts: Parts = app.extensions["penstock"]
    # What is there now stays, and a request leaves no cycles behind: looking for some was a tenth of its time.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    return Front(app, all_routes(parts), threads=settings.gateway_threads, at_end=parts.waiting.close)


def from_settings(settings: Settings) -> Application:
    client = connect(settings.store_url)
    access, jobs = Access(client), JobStore(client)
    require_keys(access, settings)
    repository = Repository(settings.models)
    app = create_app(
        settings,
        jobs=jobs,
        workers=Workers(client),
        objects=open_objects(settings.objects),
        access=access,
        repository=repository,
        deployments=Deployments(client),
        endpoints=Endpoints(client),
        deliveries=Deliveries(client),
        dead_letters=DeadLetters(client, jobs),
        quotas=Quotas(client),
        refused=Refused(client),
        scorings=Scorings(client),
        publisher=Publisher(
            settings.queue_url, deadline_s=settings.submit_deadline_s, queues=lambda: lanes(repository.catalog)
        ),
        waiting=Waiting(client, jobs, slots=WAITERS, streams=max(1, settings.gateway_threads // 2)),
    )
    parts: Parts = app.extensions["penstock"]
    # A store that is away is asked again with the first requests.
    with suppress(StoreUnavailable):
        parts.toll.look()
    parts.resolver.start()
    return app


def lanes(catalog: Catalog) -> list[str]:
    """The queues of every version of every model, in each of its pools."""
    return [
        queue_name(pool, name, entry.version, lane)
        for name, entries in catalog.models.items()
        for entry in entries
        for pool in entry.manifest.pools
        for lane in LANES
    ]
