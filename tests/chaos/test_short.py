"""`make chaos` in small: one seed with a few faults, each way to run; no promise may break."""

import pytest

from tests.chaos.farm import Way
from tests.chaos.faults import known
from tests.chaos.report import text
from tests.chaos.run import run_seed
from tests.services.fixtures import require_servers

#: Seconds of load and faults.
SECONDS = 20
#: Quick to make, and different from each other.
EMBEDDED = "kill-executor,kill-worker,duplicates"
SERVERS = "tear,kill-executor,cut"


@pytest.mark.farm
@pytest.mark.timeout(300)
@pytest.mark.xdist_group("embedded")
def test_embedded_farm_keeps_its_promises_under_faults() -> None:
    run(EMBEDDED, Way.EMBEDDED)


@pytest.mark.farm
@pytest.mark.service
@pytest.mark.timeout(300)
@pytest.mark.xdist_group("servers")
def test_farm_keeps_its_promises_under_faults() -> None:
    require_servers()
    run(SERVERS, Way.SERVERS)


def run(faults: str, way: Way) -> None:
    found = run_seed(1, SECONDS, known(faults, way), way, pause_s=0.1, say=print)
    assert found.violations == [], text([found])
    assert found.accepted > 100
    assert found.faults
    assert found.neighbours_failed == 0
