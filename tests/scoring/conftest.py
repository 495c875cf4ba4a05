from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.connection import Client
from tasks.scoring import driving
from tests.scoring.desk import Desk, desks


@pytest.fixture
def desk(store: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    for one in desks(store, tmp_path):
        monkeypatch.setattr(driving, "Bell", one.bell())
        yield one
