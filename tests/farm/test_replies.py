"""Who pushes a job and names a queue hears of its end there, whatever becomes of worker and job meanwhile."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import amqp
import pytest

from tasks.message import new_id
from tests.farm.conftest import WAYS
from tests.farm.harness import Farm
from tests.services.rabbitmq import RabbitMQ

pytestmark = pytest.mark.parametrize("running", [WAYS[1]], indirect=True, scope="session")
X = [float(n) for n in range(16)]


class Pusher:
    """A bare AMQP client with a queue for answers."""

    def __init__(self, farm: Farm) -> None:
        broker = farm.services["broker"]
        assert isinstance(broker, RabbitMQ)
        self._farm = farm
        self._connection = amqp.Connection(f"127.0.0.1:{broker.port}", confirm_publish=True)
        self._connection.connect()
        self.channel = self._connection.channel()
        self.queue = self.channel.queue_declare("", exclusive=True).queue
        self.channel.queue_bind(self.queue, "penstock.replies", self.queue)

    def push(self, model: str, inputs: dict[str, Any], **more: Any) -> str:
        """The job's id; `more` are properties of the message, or its fields."""
        properties: dict[str, Any] = {"reply_to": self.queue, "delivery_mode": 2}
        properties |= {name: more.pop(name) for name in ("correlation_id", "reply_to") if name in more}
        message = {"v": 1, "id": new_id(), "model": model, "version": "1", "inputs": inputs, "tenant": "acme"} | more
        self.channel.basic_publish_confirm(
            amqp.Message(json.dumps(message), **properties),
            exchange="penstock.jobs", routing_key=f"cpu.{model}.1.normal", mandatory=True,
        )  # fmt: skip
        return str(message["id"])

    def answer(self) -> amqp.Message:
        return self._farm.until(lambda: self.channel.basic_get(self.queue, no_ack=True), "an answer is there")

    def said(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.answer().body)
        return found

    @property
    def quiet(self) -> bool:
        """Whether no answer waits."""
        return self.channel.basic_get(self.queue, no_ack=True) is None

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def pusher(farm: Farm) -> Iterator[Pusher]:
    with closing(Pusher(farm)) as made:
        yield made


def record(farm: Farm, id: str) -> str:
    """The job's status; empty without a record."""
    job = farm.jobs.get(id)
    return job.status.value if job else ""


def test_outcome_comes_to_the_queue_that_the_message_named(farm: Farm, pusher: Pusher) -> None:
    first = pusher.push("echo", {"x": X}, correlation_id="row 7")
    answer = pusher.answer()
    assert json.loads(answer.body) == {"id": first, "status": "succeeded", "outputs": {"y": [X]}}
    assert (answer.properties["correlation_id"], answer.properties["message_id"]) == ("row 7", first)
    second = pusher.push("trouble", {"do": "invalid"})
    answer = pusher.answer()
    said = json.loads(answer.body)
    assert (said["id"], said["status"], said["error"]["code"]) == (second, "failed", "invalid_input")
    assert answer.properties["correlation_id"] == second
    third = pusher.push("trouble", {"do": "big"})
    said = pusher.said()
    job = farm.jobs.get(third)
    assert job is not None
    assert said == {"id": third, "status": "succeeded", "outputs_key": job.outputs_key}


def test_job_that_has_ended_and_is_pushed_again_is_answered_again(pusher: Pusher) -> None:
    id = pusher.push("echo", {"x": X})
    assert pusher.said()["id"] == id
    assert pusher.push("echo", {"x": X}, id=id) == id
    assert pusher.said() == {"id": id, "status": "succeeded", "outputs": {"y": [X]}}


def test_answer_follows_a_job_through_its_retries(pusher: Pusher, tmp_path: Path) -> None:
    # The second attempt's message comes from the relay, which knows the record only.
    id = pusher.push("trouble", {"do": f"once {tmp_path / 'mark'}"}, max_attempts=2, correlation_id="again")
    answer = pusher.answer()
    assert json.loads(answer.body)["id"] == id
    assert json.loads(answer.body)["status"] == "succeeded"
    assert answer.properties["correlation_id"] == "again"
    assert pusher.quiet


def test_canceled_and_expired_jobs_are_answered_too(farm: Farm, pusher: Pusher, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    held = pusher.push("trouble", {"do": f"wait {gate}"})
    farm.until(lambda: record(farm, held) == "running", "the first runs")
    late = pusher.push("trouble", {"do": "late"}, queue_ttl_s=0.2)
    said = pusher.said()
    assert said == {"id": late, "status": "expired"}
    with farm.client() as client:
        client.jobs.cancel(held)
    gate.touch()
    assert pusher.said() == {"id": held, "status": "canceled"}


def test_missing_queue_costs_the_answer_and_nothing_else(farm: Farm, pusher: Pusher) -> None:
    id = pusher.push("echo", {"x": X}, reply_to="nobody-has-this")
    farm.until(lambda: record(farm, id) == "succeeded", "it has run")
    after = pusher.push("echo", {"x": X})
    assert pusher.said()["id"] == after
    farm.until(lambda: "answer dropped" in farm.log("worker-cpu"), "that is logged")


def test_worker_that_is_killed_leaves_the_answer_to_the_next(farm: Farm, pusher: Pusher, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    ids = {pusher.push("trouble", {"do": f"wait {gate}"}, correlation_id="kept") for _ in range(3)}
    farm.until(lambda: "running" in {record(farm, id) for id in ids}, "one runs")
    farm.kill("worker-cpu")
    gate.touch()
    farm.start("worker-cpu")
    answers = [pusher.answer() for _ in ids]
    assert {json.loads(answer.body)["id"] for answer in answers} == ids
    assert {answer.properties["correlation_id"] for answer in answers} == {"kept"}
