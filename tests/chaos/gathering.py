"""The final state of a farm at rest, read past every link: records, executions, and what is left."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from kombu import Connection

from errors import NotFound
from storage import keys
from storage.job import Job, Status
from storage.objects import Objects
from tasks import topology
from tests.chaos.farm import ChaosFarm
from tests.chaos.history import Execution, Record, Rest
from tests.chaos.leftovers import LATER
from tests.chaos.reference import canonical
from tests.chaos.servers import queues

#: kombu's Redis transport keeps there what consumers hold.
UNACKED = "unacked"
#: Records read in one round trip.
STRIDE = 500


def jobs(farm: ChaosFarm) -> Iterator[Job]:
    """Every record, withdrawn ones included."""
    names = (name.decode() for name in farm.redis.scan_iter(match=keys.job("*"), count=1000))
    # Beside a record lie its earlier ends, until its webhooks have told of them.
    found = [id for name in names if ":" not in (id := name.removeprefix(keys.job("")))]
    for begin in range(0, len(found), STRIDE):
        ids = found[begin : begin + STRIDE]
        for id, fields in zip(ids, farm.redis.execute_all([("HGETALL", keys.job(id)) for id in ids]), strict=True):
            if fields.get(b"tenant"):
                yield Job.from_hash(id, fields)


def unfinished(farm: ChaosFarm) -> str:
    """What is still to be done, in words; "" at rest."""
    ids = [id.decode() for id in farm.redis.zrange(keys.tenant_jobs(farm.tenant), 0, -1)]
    states = Counter(
        (status or b"gone").decode()
        for begin in range(0, len(ids), STRIDE)
        for status in farm.redis.execute_all([("HGET", keys.job(id), "status") for id in ids[begin : begin + STRIDE]])
    )
    left = {state: count for state, count in states.items() if state in ("queued", "running")}
    left |= {queue: count for queue, count in messages(farm).items() if count}
    due = [member.decode() for member in farm.redis.zrange(keys.DUE, 0, -1)]
    left |= Counter(member.partition(":")[0] for member in due if not member.startswith((*LATER, "inputs:")))
    left |= {"outbox": count} if (count := farm.redis.zcard(keys.OUTBOX)) else {}
    return ", ".join(f"{count} {what}" for what, count in left.items())


def unswept(farm: ChaosFarm) -> int:
    """Inputs that are still to be looked at, whether their jobs came to be."""
    return sum(member.startswith(b"inputs:") for member in farm.redis.zrange(keys.DUE, 0, -1))


def untold(farm: ChaosFarm) -> int:
    """Events in the outbox, and deliveries that wait for their time."""
    return int(farm.redis.zcard(keys.OUTBOX)) + int(farm.redis.zcard(keys.TARGETS))


def record(job: Job, objects: Objects) -> Record:
    message = json.loads(job.message) if job.message else {}
    return Record(
        id=job.id,
        key=message.get("metadata", {}).get("key", ""),
        state=job.status.value,
        attempt=job.attempt,
        losses=job.losses,
        failures=job.failures,
        completed_at=timestamp(job.completed_ms),
        outputs=outputs(job, objects),
        code=json.loads(job.error)["code"] if job.error else "",
    )


def outputs(job: Job, objects: Objects) -> str:
    """JSON, "" where there are none; what is named and not there is no JSON and equals nothing."""
    if job.status is not Status.SUCCEEDED:
        return ""
    try:
        text = objects.read(job.outputs_key) if job.outputs_key else job.outputs or b"null"
    except NotFound:
        return f"no object {job.outputs_key}"
    return canonical(json.loads(text))


def timestamp(ms: int) -> str:
    """As the gateway writes times."""
    if not ms:
        return ""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ms % 1000:03d}Z"


def executions(book: Path) -> list[Execution]:
    found = []
    for path in book.glob("[0-9]*"):
        for line in path.read_text().splitlines():
            batch, size, digest = line.split()
            found.append(Execution(digest, batch, int(size)))
    return found


def rest(farm: ChaosFarm, records: list[Job], objects: Objects) -> Rest:
    """To be asked once the worker has ended: what it held is in the queues again."""
    waiting = [id.decode() for queue in queues() for id in farm.redis.zrange(keys.waiting(queue), 0, -1)]
    due = [member.decode() for member in farm.redis.zrange(keys.DUE, 0, -1)]
    return Rest(
        messages=messages(farm),
        waiting=tuple(waiting),
        due=tuple(due),
        objects=tuple(objects.keys()),
        untold=untold(farm),
        named=tuple(key for job in records for key in named(job)),
    )


def messages(farm: ChaosFarm) -> dict[str, int]:
    if farm.settings.embedded:
        found = {name: int(farm.redis.llen(name)) for name in queues()}
        return found | {UNACKED: int(farm.redis.hlen(UNACKED))}
    with Connection(farm.settings.queue_url, connect_timeout=5) as connection:
        return {name: topology.depth(connection, name) for name in [*queues(), topology.DEAD_QUEUE]}


def named(job: Job) -> Iterator[str]:
    """Keys of the objects that a record needs."""
    if job.outputs_key:
        yield job.outputs_key
    if job.message and job.status is not Status.WITHDRAWN:
        for value in msgspec.json.decode(job.message).get("inputs", {}).values():
            if isinstance(value, dict) and "object" in value:
                yield value["object"]
