"""A process dies at each step between accept and acknowledgement, and no job is lost, doubled or crossed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.drill import Sent, at_rest, drill, prepare, repository
from tests.crash.points import POINTS
from tests.farm.conftest import servers
from tests.farm.harness import Farm
from tests.services.fixtures import require_servers

pytestmark = [pytest.mark.farm, pytest.mark.service, pytest.mark.xdist_group("crash")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("f") / "crash"


@pytest.fixture(scope="module")
def sent() -> list[Sent]:
    return []


@pytest.fixture(scope="module")
def farm(folder: Path, sent: list[Sent]) -> Iterator[Farm]:
    require_servers()
    farm = servers(folder.parent, repository(folder.parent / "models"))
    try:
        prepare(farm, folder)
        farm.start()
        farm.wait_ready()
        yield farm
        at_rest(farm, sent)
    finally:
        farm.close()


@pytest.mark.parametrize("step", POINTS)
def test_death_at_a_step_loses_no_job_and_doubles_none(farm: Farm, folder: Path, sent: list[Sent], step: str) -> None:
    sent += drill(farm, folder, step)
