"""A farm whose processes may do no more than `penstock topology --acl` says: it works, and all else is refused."""

import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import amqp
import pytest
import redis
from penstock import Penstock, Pusher

from storage import keys, roles
from storage.access import Access
from tasks import permissions
from tasks.app import WEBHOOK_QUEUE
from tasks.permissions import BROKER
from tests.farm.harness import ROOT, Farm
from tests.farm.repository import build
from tests.services.fixtures import require_servers
from tests.services.rabbitmq import RabbitMQ, password_hash, rabbitmq_service
from tests.services.redis_ import Redis, redis_service

PENSTOCK = [sys.executable, str(ROOT / "farm.py"), "run"]
X = [float(number) for number in range(16)]
PASSWORD = "a-password-of-the-tests"
#: The role of each of the harness' processes.
PROCESSES = {"gateway": "gateway", "worker-cpu": "worker", "orchestrator": "orchestrator"}


def test_every_key_has_its_place_in_the_roles() -> None:
    """A new key must be given to somebody: else it fails where the ACL is in force, and only there."""
    given = {
        pattern for name, role in roles.ROLES.items() if name != "operator" for pattern in (*role.both, *role.reads)
    }
    for name, made in vars(keys).items():
        if name == "PREFIX" or name.startswith("_"):
            continue
        if inspect.isfunction(made):
            made = made(*("*" if one.annotation is str else 1 for one in inspect.signature(made).parameters.values()))
        if isinstance(made, str) and made not in given:
            # A longer pattern of the same beginning holds it too.
            assert any(made.startswith(one.removesuffix("*")) and one.endswith("*") for one in given) or made in (
                channel for role in roles.ROLES.values() for channel in role.channels
            ), f"keys.{name}: say in storage/roles.py whose it is"


def test_secrets_are_the_gateways_alone() -> None:
    for name, role in roles.ROLES.items():
        touched = {*role.both, *role.reads}
        if name not in ("gateway", "operator"):
            assert not touched & {keys.API_KEYS, keys.SECRET, keys.API_KEYS_USED}, name
        if name in ("worker", "producer", "monitor"):
            assert keys.endpoints("*") not in touched, name
        if name != "operator":
            assert not [one for one in touched if one in ("*", keys.PREFIX + "*")], name


def test_command_prints_every_role_as_text_and_as_json() -> None:
    text = subprocess.run([*PENSTOCK, "topology", "--acl"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    data = json.loads(
        subprocess.run(
            [*PENSTOCK, "topology", "--acl", "--json"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
    )
    assert set(data) == set(BROKER) == set(roles.ROLES)
    for role in data:
        assert f"user penstock-{role} on >PASSWORD resetkeys" in text
        assert f"set_permissions -p / penstock-{role} '{data[role]['rabbitmq']['configure']}'" in text


def definitions() -> dict[str, Any]:
    """RabbitMQ's, with a user for each role beside the tests' own administrator."""
    everything = {"user": "guest", "configure": ".*", "write": ".*", "read": ".*", "vhost": "/"}
    users = [{"name": "guest", "password_hash": password_hash("guest"), "tags": "administrator"}]
    granted, topics = [everything], []
    for one in permissions.as_data().values():
        rabbit: Any = one["rabbitmq"]
        user = {"user": rabbit["user"], "vhost": "/"}
        users.append({"name": rabbit["user"], "password_hash": password_hash(PASSWORD), "tags": rabbit["tags"]})
        granted.append(user | {name: rabbit[name] for name in ("configure", "write", "read")})
        topics.append(user | {"exchange": "penstock.jobs", "write": rabbit["topic"], "read": rabbit["bound"]})
    return {
        "users": users, "vhosts": [{"name": "/"}], "permissions": granted, "topic_permissions": topics,
    }  # fmt: skip


class Guarded(Farm):
    """Each process logs in as its own role."""

    def start(self, *names: str) -> None:
        whole = self.env
        for name in names or self._commands:
            self.env = whole | urls(self, PROCESSES[name])
            super().start(name)
        self.env = whole


def urls(farm: Farm, role: str) -> dict[str, str]:
    broker, store = farm.services["broker"], farm.services["redis"]
    assert isinstance(broker, RabbitMQ)
    assert isinstance(store, Redis)
    login = f"penstock-{role}:{PASSWORD}@127.0.0.1"
    return {
        "PENSTOCK_BROKER_URL": f"amqp://{login}:{broker.port}//",
        "PENSTOCK_REDIS_URL": f"redis://{login}:{store.port}/0",
    }


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    require_servers()
    folder = tmp_path_factory.mktemp("a")
    broker, store = rabbitmq_service(folder / "rabbitmq"), redis_service(folder / "redis")
    (folder / "rabbitmq" / "definitions.json").write_text(json.dumps(definitions()))
    with ExitStack() as held:
        for service in (broker, store):
            held.callback(service.stop)
            service.launch()
        broker.wait_ready()
        store.wait_ready()
        with redis.Redis.from_url(store.url) as admin:
            for role, one in roles.ROLES.items():
                admin.execute_command("ACL", "SETUSER", f"penstock-{role}", "on", f">{PASSWORD}", *one.rules())
        made = Guarded(
            folder, build(folder / "models"), {"broker": broker, "redis": store},
            {"PENSTOCK_BROKER_URL": broker.url, "PENSTOCK_REDIS_URL": store.url},
        )  # fmt: skip
        held.callback(made.close)
        made.key = Access(made.redis).create("acme", "tests", admin=True)
        made.start()
        made.wait_ready()
        yield made


def denied(farm: Farm) -> list[Any]:
    """What Redis refused to the farm's processes."""
    return list(farm.redis.execute_command("ACL", "LOG", "50"))


def score(client: Penstock, file: Path) -> None:
    """Everything that a scoring can come to: an end with failed rows, these run again, a cancel, an erasure."""
    rows = [{"x": X if n % 5 else X[:3]} for n in range(200)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = client.scorings.create("echo", client.objects.upload(file).id, format="jsonl")
    done = client.scorings.wait(made, timeout_s=60)
    assert (done.status, done.rows.done, done.rows.failed) == ("completed", 200, 40)
    client.scorings.retry_failed(done)
    client.scorings.cancel(done)
    done = client.scorings.wait(done, timeout_s=60)
    assert (done.rows.done, done.rows.failed) == (200, 40)
    assert [one.id for one in client.scorings.list()] == [done.id]
    client.scorings.delete(done)


@pytest.mark.farm
@pytest.mark.service
@pytest.mark.xdist_group("acl")
class TestUnderTheACL:
    def test_farm_works_and_nothing_it_does_is_refused(self, farm: Farm, tmp_path: Path) -> None:
        farm.redis.execute_command("ACL", "LOG", "RESET")
        with farm.client() as client, farm.http() as http:
            assert client.run("echo", {"x": X}) == {"y": [X]}
            again = client.jobs.submit("trouble", {"do": f"once {tmp_path / 'mark'}"}, max_attempts=2)
            assert client.jobs.wait(again, timeout_s=60).attempt == 2
            failed = client.jobs.submit("trouble", {"do": "raise"}, max_attempts=1)
            assert client.jobs.wait(failed, timeout_s=60).status == "failed"
            for method, path, body in (
                ("POST", f"/v1/jobs/{failed.id}/retry", None),
                ("POST", "/v1/jobs", {"model": "echo", "inputs": {"x": X}}),
                ("GET", "/v1/jobs?status=failed", None),
                ("GET", "/v1/models", None),
                ("GET", "/v1/queues", None),
                ("GET", "/v1/dead-letters", None),
                ("GET", "/v1/webhooks", None),
                ("GET", "/metrics", None),
                ("GET", "/readyz", None),
                ("POST", "/v1/models/echo/versions/1/load", None),
                ("POST", "/v1/objects:presign", None),
                ("POST", "/v1/webhooks", {"url": f"http://127.0.0.1:{farm.port}/livez"}),
                ("DELETE", f"/v1/jobs/{again.id}", None),
            ):
                headers = {"Idempotency-Key": path} if method == "POST" else {}
                answer = http.request(method, path, json=body, headers=headers)
                assert answer.status_code < 500, (path, answer.text)
            # The endpoint above is told of this one.
            client.run("echo", {"x": X})
            score(client, tmp_path / "rows.jsonl")
        farm.stop("worker-cpu")
        farm.kill("orchestrator")
        farm.start("worker-cpu", "orchestrator")
        farm.wait_ready()
        with farm.client() as client:
            assert client.run("echo", {"x": X}) == {"y": [X]}
        assert denied(farm) == []
        for name in PROCESSES:
            assert "ACCESS_REFUSED" not in farm.log(name)
            assert "NOPERM" not in farm.log(name).upper()

    @pytest.mark.parametrize(
        ("role", "command"),
        [
            ("worker", ("HGETALL", keys.API_KEYS)),
            ("worker", ("HSET", keys.API_KEYS, "a", "b")),
            ("worker", ("GET", keys.SECRET)),
            ("worker", ("HGETALL", keys.endpoints("acme"))),
            ("worker", ("HSET", keys.DEPLOYMENTS, "echo", "{}")),
            ("gateway", ("HSET", keys.API_KEYS, "a", "b")),
            ("gateway", ("HDEL", keys.QUOTAS, "acme")),
            ("orchestrator", ("HGETALL", keys.API_KEYS)),
            ("orchestrator", ("GET", keys.SECRET)),
            ("producer", ("HSET", keys.job("job_1"), "status", "succeeded")),
            ("producer", ("DEL", keys.job("job_1"))),
            ("producer", ("PUBLISH", keys.DONE, "job_1")),
            ("monitor", ("HGETALL", keys.job("job_1"))),
            ("monitor", ("HSET", keys.COUNTERS, "a", "1")),
            *((role, ("SCAN", "0")) for role in ("gateway", "worker", "producer", "monitor")),
            *(
                (role, command)
                for role in ("gateway", "worker", "orchestrator", "producer", "monitor")
                for command in (
                    ("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("SHUTDOWN",),
                    ("MONITOR",), ("GET", "elsewhere"), ("EVAL", "return 1", "0"), ("SAVE",),
                    ("SUBSCRIBE", "elsewhere"), ("CLIENT", "KILL", "ID", "1"),
                )
            ),
        ],
    )  # fmt: skip
    def test_role_is_refused_what_is_not_its_own_at_redis(
        self, farm: Farm, role: str, command: tuple[str, ...]
    ) -> None:
        client = redis.Redis.from_url(urls(farm, role)["PENSTOCK_REDIS_URL"])
        with pytest.raises(
            (redis.exceptions.NoPermissionError, redis.exceptions.ResponseError), match=r"NOPERM|permission"
        ):
            client.execute_command(*command)
        client.close()

    @pytest.mark.parametrize(
        ("role", "deed"),
        [
            ("producer", lambda channel: channel.basic_get("cpu.echo.1.normal")),
            ("producer", lambda channel: channel.queue_purge("cpu.echo.1.normal")),
            ("producer", lambda channel: channel.queue_delete("cpu.echo.1.normal")),
            ("producer", lambda channel: channel.queue_declare("mine")),
            ("producer", lambda channel: publish(channel, "", WEBHOOK_QUEUE)),
            ("producer", lambda channel: publish(channel, "", "cpu.echo.1.normal")),
            ("producer", lambda channel: publish(channel, "penstock.dead", "")),
            ("producer", lambda channel: publish(channel, "penstock.jobs", "elsewhere")),
            ("worker", lambda channel: channel.basic_get(WEBHOOK_QUEUE)),
            ("worker", lambda channel: publish(channel, "", WEBHOOK_QUEUE)),
            ("worker", lambda channel: publish(channel, "penstock.jobs", "cpu.echo.1.normal")),
            ("producer", lambda channel: publish(channel, "penstock.replies", "somebody's")),
            ("gateway", lambda channel: publish(channel, "", WEBHOOK_QUEUE)),
            ("gateway", lambda channel: channel.queue_declare(WEBHOOK_QUEUE)),
            ("orchestrator", lambda channel: channel.basic_get("cpu.echo.1.normal")),
            ("orchestrator", lambda channel: channel.queue_delete("cpu.echo.1.normal")),
            ("monitor", lambda channel: channel.basic_get("cpu.echo.1.normal")),
            ("monitor", lambda channel: publish(channel, "penstock.jobs", "cpu.echo.1.normal")),
        ],
    )
    def test_role_is_refused_what_is_not_its_own_at_rabbitmq(self, farm: Farm, role: str, deed: Any) -> None:
        connection = connected(farm, role)
        with pytest.raises(amqp.exceptions.AccessRefused):
            deed(connection.channel())
        connection.collect()

    def test_producer_pushes_and_reads_what_came_of_it(self, farm: Farm) -> None:
        connection = connected(farm, "producer")
        channel = connection.channel()
        answers = channel.queue_declare("", exclusive=True).queue
        channel.queue_bind(answers, "penstock.replies", answers)
        message = {"v": 1, "id": "pushed-1", "model": "echo", "version": "1", "inputs": {"x": X}, "tenant": "acme"}
        publish(channel, "penstock.jobs", "cpu.echo.1.normal", json.dumps(message), reply_to=answers)
        answer = farm.until(lambda: channel.basic_get(answers), "it is answered")
        assert json.loads(answer.body)["outputs"] == {"y": [X]}
        connection.close()
        store = redis.Redis.from_url(urls(farm, "producer")["PENSTOCK_REDIS_URL"], decode_responses=True)
        farm.until(lambda: store.hget(keys.job("pushed-1"), "status") == "succeeded", "it has run")
        store.close()

    @pytest.mark.parametrize("replies", [False, True], ids=["records", "answers"])
    def test_producer_is_all_that_the_sdk_needs_to_push(self, farm: Farm, replies: bool) -> None:
        at = urls(farm, "producer")
        with Pusher(
            at["PENSTOCK_BROKER_URL"], redis=at["PENSTOCK_REDIS_URL"], replies=replies, tenant="acme"
        ) as pusher:
            rows = list(pusher.rows("echo", [{"x": X}] * 3, version="1"))
        assert [row.outputs for row in rows] == [{"y": X}] * 3


def connected(farm: Farm, role: str) -> Any:
    broker = farm.services["broker"]
    assert isinstance(broker, RabbitMQ)
    connection = amqp.Connection(f"127.0.0.1:{broker.port}", f"penstock-{role}", PASSWORD, confirm_publish=True)
    connection.connect()
    return connection


def publish(channel: Any, exchange: str, routing_key: str, body: str = "{}", **properties: str) -> None:
    channel.basic_publish_confirm(amqp.Message(body, **properties), exchange=exchange, routing_key=routing_key)
