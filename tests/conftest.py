"""Fixtures that every folder of tests shares."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from storage.connection import Client, connect
from tests.services.valkey import Valkey, valkey_service
from tests.site import Site, running

# Other tests run beside these: how long drawing takes says nothing about the test.
settings.register_profile("beside-others", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("beside-others")

pytest_plugins = ["tests.services.fixtures"]


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One private Valkey for this test process."""
    # A short path: a socket's name has at most 107 bytes.
    service = valkey_service(Path(tmp_path_factory.mktemp("v")))
    service.start()
    yield service
    service.stop()


@pytest.fixture
def store(valkey: Valkey) -> Iterator[Client]:
    """A client of the private Valkey, emptied first."""
    client = connect(valkey.url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An https server on localhost."""
    with running(tmp_path_factory.mktemp("tls")) as site:
        yield site
