"""Gateways for tests: one with the usual settings, and a maker for others."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.gateway.gate import Gate, make_gate
from tests.gateway.repository import build
from tests.services.valkey import Valkey


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("repository"))


@pytest.fixture
def make(tmp_path: Path, repository: Path, valkey: Valkey, store: "redis.Redis") -> Iterator[Callable[..., Gate]]:
    """Makes gateways over the emptied store and closes them."""
    made: list[Gate] = []

    def maker(**options: Any) -> Gate:
        made.append(make_gate(tmp_path, repository, valkey, **options))
        return made[-1]

    yield maker
    for gate in made:
        gate.close()


@pytest.fixture
def gate(make: Callable[..., Gate]) -> Gate:
    return make()
