"""The servers under the tests come up, keep their data over a restart, and leave nothing behind."""

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import amqp
import psutil
import pytest
import redis
from minio import Minio

from tests.services.ceph import Ceph, ceph_service
from tests.services.fixtures import require_servers
from tests.services.ports import connect, free_port
from tests.services.process import Child, Service, StartError
from tests.services.rabbitmq import RabbitMQ, rabbitmq_service
from tests.services.redis_ import Redis, redis_service
from tests.services.valkey import Valkey, valkey_service

pytestmark = pytest.mark.service


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[Service], None]]:
    require_servers()
    services: list[Service] = []

    def start(service: Service) -> None:
        services.append(service)
        service.start()

    yield start
    for service in services:
        service.stop()


@pytest.mark.parametrize("make", [redis_service, valkey_service])
@pytest.mark.parametrize("end", [Service.stop, Service.kill])
def test_store_keeps_its_data_over_a_restart(
    make: Callable[[Path], Redis | Valkey],
    end: Callable[[Service], None],
    tmp_path: Path,
    started: Callable[[Service], None],
) -> None:
    service = make(tmp_path)
    started(service)
    with redis.Redis.from_url(service.url) as client:
        client.set("job", "queued")
        # The append-only file reaches the kernel before the answer does, so that a killed server loses nothing.
        end(service)
        with pytest.raises(redis.ConnectionError):
            client.ping()
        service.start()
        assert client.get("job") == b"queued"


def test_broker_keeps_vhosts_and_messages_over_a_restart(tmp_path: Path, started: Callable[[Service], None]) -> None:
    broker = rabbitmq_service(tmp_path, vhosts=["gw0"])
    started(broker)
    with connection(broker, "gw0") as there:
        channel = there.channel()
        channel.queue_declare("jobs", durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})
        channel.confirm_select()
        channel.basic_publish_confirm(amqp.Message("work", delivery_mode=2), routing_key="jobs")

    broker.stop()
    broker.start()

    with connection(broker, "gw0") as there:
        message = there.channel().basic_get("jobs", no_ack=True)
        assert message is not None
        assert message.body == "work"


def test_paused_broker_answers_again_when_resumed(tmp_path: Path, started: Callable[[Service], None]) -> None:
    broker = rabbitmq_service(tmp_path)
    started(broker)
    broker.pause()
    with pytest.raises(OSError, match="timed out"), connection(broker, "/"):
        pass
    broker.resume()
    with connection(broker, "/") as there:
        assert there.connected


@pytest.mark.parametrize("end", [Service.stop, Ceph.kill])
def test_object_store_keeps_its_objects_over_a_restart(
    end: Callable[[Ceph], None], tmp_path: Path, started: Callable[[Service], None]
) -> None:
    ceph = ceph_service(tmp_path)
    started(ceph)
    client = Minio(f"127.0.0.1:{ceph.port}", access_key=ceph.access_key, secret_key=ceph.secret_key, secure=False)
    client.make_bucket("bucket")
    client.put_object("bucket", "key", io.BytesIO(b"content"), 7)

    end(ceph)
    ceph.start()

    with client.get_object("bucket", "key") as answer:
        assert answer.read() == b"content"


def test_server_that_cannot_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="no such option as this"):
        child(tmp_path, "print('no such option as this')").start()


def test_server_that_never_answers_is_ended(tmp_path: Path) -> None:
    service = child(tmp_path, "import time; time.sleep(60)")
    with pytest.raises(StartError, match=r"gave no answer in 0\.3 s"):
        service.start()
    with pytest.raises(RuntimeError, match="is not running"):
        _ = service.pids


def test_command_gets_the_urls_and_its_exit_code_is_kept_and_nothing_stays_behind() -> None:
    require_servers()
    program = "import os, sys; print(os.getppid(), os.environ['PENSTOCK_BROKER_URL']); sys.exit(7)"
    starter = subprocess.Popen(
        [sys.executable, "-m", "tests.services", "--", sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    line = starter.stdout.readline()
    servers = psutil.Process(starter.pid).children(recursive=True)
    assert starter.wait(30) == 7
    starter.stdout.close()
    assert line.startswith(f"{starter.pid} amqp://guest:guest@127.0.0.1:")
    assert psutil.wait_procs(servers, timeout=1)[1] == []


def test_servers_die_with_their_starter_even_if_it_is_killed() -> None:
    require_servers()
    starter = subprocess.Popen([sys.executable, "-m", "tests.services"], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    assert starter.stdout.readline().startswith("export PENSTOCK_")
    servers = psutil.Process(starter.pid).children(recursive=True)
    assert len(servers) >= 6
    starter.kill()
    starter.communicate()
    assert psutil.wait_procs(servers, timeout=10)[1] == []


def connection(broker: RabbitMQ, vhost: str) -> amqp.Connection:
    """An open connection; raises OSError within two seconds where nobody answers."""
    there = amqp.Connection(
        f"127.0.0.1:{broker.port}", "guest", "guest", virtual_host=vhost, connect_timeout=2, read_timeout=2
    )
    there.connect()
    return there


def child(folder: Path, program: str) -> Service:
    """A service of one Python process that never answers its probe."""
    return Service(
        folder,
        (Child([sys.executable, "-c", program], log=folder / "log", probe=lambda: connect(free_port()), ready_s=0.3),),
    )
