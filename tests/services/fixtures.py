"""Pytest fixtures for the real servers.

`make test` starts one set of servers for the whole run and names them in `PENSTOCK_TEST_*`; each parallel test
process has a vhost, a Redis database and a bucket of its own there. A single test run by hand starts its own set.
What is missing skips on a laptop and fails in CI (environment variable `CI`).
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.services.farm import WORKERS, running_farm
from tests.services.install import missing_sentence

NAMES = ("BROKER_URL", "REDIS_URL", "OBJECTS_URL")


@dataclass(frozen=True)
class ServiceURLs:
    """The servers for this test process alone."""

    broker: str
    redis: str
    objects: str


def pytest_configure(config: pytest.Config) -> None:
    # A test that wants the embedded farm must not find the servers by accident.
    for name in NAMES:
        os.environ.pop("PENSTOCK_" + name, None)


def require_servers() -> None:
    """Skip the test, or fail it in CI, where the servers' programs are not installed."""
    if sentence := missing_sentence():
        unavailable(sentence)


def unavailable(reason: str) -> None:
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def worker_number() -> int:
    """0 without xdist; `gw3` is 3."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


@pytest.fixture(scope="session")
def services() -> Iterator[ServiceURLs]:
    """Broker, Redis and object store; shared by all tests of this process, so use names of your own in them."""
    with ExitStack() as stack:
        urls = {name: os.environ.get("PENSTOCK_TEST_" + name, "") for name in NAMES}
        if not all(urls.values()):
            require_servers()
            if "PYTEST_XDIST_WORKER" in os.environ:
                unavailable("Run the tests in parallel with: python -m tests.services -- pytest -n 2")
            farm = stack.enter_context(running_farm())
            urls = {name: farm.urls["PENSTOCK_TEST_" + name] for name in NAMES}
        yield ServiceURLs(*(own_part(urls[name], worker_number()) for name in NAMES))


@pytest.fixture(scope="session")
def broker_url(services: ServiceURLs) -> str:
    return services.broker


@pytest.fixture(scope="session")
def redis_url(services: ServiceURLs) -> str:
    return services.redis


@pytest.fixture(scope="session")
def objects_url(services: ServiceURLs) -> str:
    return services.objects


def own_part(url: str, number: int) -> str:
    """The same server's vhost, database or bucket for test process `number`."""
    if number >= WORKERS:
        raise RuntimeError(f"the servers have room for {WORKERS} test processes (-n {WORKERS})")
    parts = urlsplit(url)
    names = {"amqp": f"/gw{number}", "redis": f"/{number}", "s3": f"/gw{number}"}
    return urlunsplit(parts._replace(path=names[parts.scheme]))
