"""One quick run of the whole benchmark, on real servers."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench import report, targets
from bench.measuring import Bench
from bench.plan import MODES, Plan
from bench.processes import ROOT
from bench.summaries import Measured
from bench.workloads import WORKLOADS
from tests.services.fixtures import ServiceURLs

#: As short as it can be.
ECHO = replace(WORKLOADS["echo"], ramp_s=0.1, seconds=10.0, bodies=20, batch_clients=(64,), batches=(1,))
PLAN = Plan((ECHO,), rounds=1, part=0.1, clients=(64,))


@pytest.mark.farm
@pytest.mark.service
def test_echo_is_measured_on_every_system(tmp_path: Path, services: ServiceURLs) -> None:
    urls = {
        "PENSTOCK_BROKER_URL": services.broker,
        "PENSTOCK_REDIS_URL": services.redis,
        "PENSTOCK_OBJECTS_URL": services.objects,
    }
    part = Bench(ECHO, PLAN, tmp_path / "echo", urls).run()
    measured = Measured("echo", json.loads(json.dumps(part)))
    assert {key[:2] for key in measured.cells} == {(system, mode) for system in MODES for mode in MODES[system]}
    for row in measured.summaries():
        assert row.jobs_per_s.least > 0
        assert row.cpu_ms["worker"] > 0
        assert row.cpu_ms["gateway"] > 0
        assert row.rss_mb["worker"] > 10
    by_what = {line.what: line.found for line in targets.lines({"echo": measured})}
    assert by_what["echo: the same, times the plain app's"]["penstock"]
    assert report.speeds(measured, measured.summaries())


def test_without_servers_it_says_how_to_start_them() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    ended = subprocess.run([sys.executable, "-m", "bench.farm"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "make bench" in ended.stderr
