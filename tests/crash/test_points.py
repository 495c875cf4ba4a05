"""A process dies at each step between accept and acknowledgement, and no job is lost, doubled or crossed."""

from collections.abc import Iterator

import pytest

from tests.crash.drill import Drills, drilling
from tests.crash.points import POINTS
from tests.services.fixtures import require_servers

pytestmark = [pytest.mark.farm, pytest.mark.service, pytest.mark.xdist_group("crash")]

#: Each of the orchestrator's takes ten seconds, until another takes its lock over; `python -m tests.crash` has all.
STEPS = [step for step, point in POINTS.items() if point.role != "orchestrator"]
STEPS += ["orchestrator-after-release", "orchestrator-after-post"]


@pytest.fixture(scope="module")
def drills(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drills]:
    require_servers()
    with drilling(tmp_path_factory.mktemp("f")) as drills:
        yield drills
        drills.at_rest()


@pytest.mark.parametrize("step", STEPS)
def test_death_at_a_step_loses_no_job_and_doubles_none(drills: Drills, step: str) -> None:
    drills.run(step)
