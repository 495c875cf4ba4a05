"""The queue's message is enough for programs in other languages: Node's amqplib pushes rows and collects them."""

import json
from pathlib import Path

import pytest

from tasks.signing import Signing
from tests.farm.conftest import WAYS
from tests.farm.harness import ROOT, Farm
from tests.services import node
from tests.services.rabbitmq import RabbitMQ

pytestmark = [
    pytest.mark.parametrize("running", [WAYS[1]], indirect=True, scope="session"),
    # npm alone may take two minutes.
    pytest.mark.timeout(300),
]
PROGRAM = ROOT / "examples" / "push-node"
ROWS = 1000
KEY = "penstock-penstock-penstock-penstock"


@pytest.fixture(autouse=True)
def _node() -> None:
    node.require()


def test_amqplib_pushes_a_thousand_rows_and_reads_what_came_of_them(farm: Farm, tmp_path: Path) -> None:
    broker = farm.services["broker"]
    assert isinstance(broker, RabbitMQ)
    env = {
        "AMQP_URL": f"amqp://guest:guest@127.0.0.1:{broker.port}/%2F",
        "PENSTOCK_TENANT": "acme",
        "PENSTOCK_SIGNING_KEY": KEY,
    }
    rows = [{"x": [float(number)] * 16} for number in range(ROWS)]
    given = "\n".join(map(json.dumps, rows))
    out = node.run(PROGRAM, tmp_path, "push.mjs", "echo", "1", env=env, given=given)
    assert [json.loads(line) for line in out.splitlines()] == [{"y": row["x"]} for row in rows]
    with farm.client() as client:
        jobs = [job for job in client.jobs.list(model="echo", status="succeeded") if job.id.startswith("node-")]
    assert len(jobs) == ROWS / 50
    for job in jobs:
        record = farm.jobs.get(job.id)
        assert record is not None
        Signing([KEY.encode()]).check(record.message)
