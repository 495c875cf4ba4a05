"""Faults of the servers, and of what lies in them."""

import json
import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from kombu import Connection

from storage import keys
from tests.chaos import tmpfs
from tests.chaos.farm import ChaosFarm
from tests.chaos.models import MODELS
from tests.services.process import Service
from tests.services.rabbitmq_cluster import RabbitMQCluster

Heal = Callable[[], None]
Inject = Callable[[ChaosFarm, random.Random], Heal]

LANES = ("high", "normal", "low")
#: RabbitMQ's own share of memory above which it takes no more messages.
WATERMARK = "0.4"
#: Messages that arrive a second time.
DUPLICATES = 20


def kill(name: str) -> Inject:
    """SIGKILL; a write that the kernel has taken is on disk all the same."""

    def inject(farm: ChaosFarm, draw: random.Random) -> Heal:
        farm.services[name].kill()
        return farm.services[name].start

    return inject


def kill_leader(farm: ChaosFarm, draw: random.Random) -> Heal:
    """SIGKILL of the node that leads a lane's queue."""
    cluster = farm.services["broker"]
    if not isinstance(cluster, RabbitMQCluster):
        raise TypeError("only a cluster has leaders")
    listed = json.loads(control(cluster, "list_queues", "name", "leader", "--formatter", "json"))
    leaders = {one["name"]: one["leader"] for one in listed}
    queue = draw.choice(queues())
    farm.note(queue)
    node = cluster.nodes[leaders[queue]]
    node.kill()

    def start() -> None:
        node.spawn()
        node.wait_ready()

    return start


def kill_gateway_of_objects(farm: ChaosFarm, draw: random.Random) -> Heal:
    """Of Ceph only the S3 server is killed: its disk lives in memory."""
    server = farm.services["objects"].children[-1]
    server.kill()

    def start() -> None:
        server.spawn()
        server.wait_ready()

    return start


def stop(name: str) -> Inject:
    def inject(farm: ChaosFarm, draw: random.Random) -> Heal:
        farm.services[name].pause()
        return farm.services[name].resume

    return inject


def full_disk(farm: ChaosFarm, draw: random.Random) -> Heal:
    """Redis cannot write its append-only file."""
    disk = farm.disks.get("redis")
    if disk is None:
        farm.note("no disk of its own: not root")
        return lambda: None
    tmpfs.fill(disk)
    return lambda: tmpfs.empty(disk)


def memory_alarm(farm: ChaosFarm, draw: random.Random) -> Heal:
    set_watermark(farm, "0.00001")
    return lambda: set_watermark(farm, WATERMARK)


def set_watermark(farm: ChaosFarm, share: str) -> None:
    control(farm.services["broker"], "set_vm_memory_high_watermark", share)


def control(broker: Service, *arguments: str) -> str:
    """RabbitMQ's own command; its output."""
    env = broker.children[-1].env
    command = ["/usr/lib/rabbitmq/bin/rabbitmqctl", "--quiet", "--node", env["RABBITMQ_NODENAME"], *arguments]
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=60).stdout


def purge(farm: ChaosFarm, draw: random.Random) -> Heal:
    """Every lane's queue is emptied, as by an operator's mistake; what was in them is noted."""
    with channel(farm) as found:
        for queue in queues():
            while (message := found.basic_get(queue, no_ack=True)) is not None:
                farm.purged.append(msgspec.json.decode(message.body)["id"])
    return lambda: None


def duplicates(farm: ChaosFarm, draw: random.Random) -> Heal:
    """Messages of jobs in any state arrive once more."""
    names = [keys.job(id.decode()) for id in farm.redis.zrange(keys.tenant_jobs(farm.tenant), -500, -1)]
    with channel(farm) as found:
        for name in draw.sample(names, min(DUPLICATES, len(names))):
            queue, body = farm.redis.hmget(name, ["queue", "message"])
            if body:
                message = found.prepare_message(body, content_type="application/json", content_encoding="utf-8")
                exchange = "" if farm.settings.embedded else "penstock.jobs"
                found.basic_publish(message, exchange=exchange, routing_key=queue.decode())
    return lambda: None


def queues() -> list[str]:
    return [f"cpu.{model}.1.{lane}" for model in MODELS for lane in LANES]


@contextmanager
def channel(farm: ChaosFarm) -> Iterator[Any]:
    """A channel straight to the broker, past every link."""
    with Connection(farm.settings.queue_url, connect_timeout=5) as connection, connection.channel() as found:
        yield found
