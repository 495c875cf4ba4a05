"""`client.queues`: what waits, model by model, and how long that will take."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from penstock.errors import UnexpectedAnswer
from penstock.job import known

if TYPE_CHECKING:
    from penstock.transport import Transport


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelQueue:
    """The queue of one version of a model in one pool, with everybody's jobs."""

    model: str = ""
    version: str = ""
    pool: str = ""
    #: Jobs that wait, and by lane.
    waiting: int = 0
    lanes: Mapping[str, int] = field(default_factory=dict)
    #: Living workers that serve it, and their executors that are ready.
    workers: int = 0
    executors: int = 0
    #: Jobs begun a second, over the last minute at most; None where it is not known yet.
    jobs_per_s: float | None = None
    #: Seconds until what waits now is begun.
    drain_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Queues:
    queues: tuple[ModelQueue, ...] = ()
    #: This client's own jobs that are queued or running, and how many may be; None: no limit.
    in_flight: int = 0
    in_flight_limit: int | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


def queues(transport: "Transport") -> Queues:
    """What waits now."""
    found = transport.send("GET", "/v1/queues").json()
    if not isinstance(found, dict) or not isinstance(found.get("data"), list):
        raise UnexpectedAnswer("the answer is no list of queues: is this address a Penstock gateway?")
    own = found.get("in_flight") or {}
    return Queues(
        queues=tuple(ModelQueue(**known(ModelQueue, one)) for one in found["data"]),
        in_flight=int(own.get("jobs", 0)),
        in_flight_limit=own.get("limit"),
        raw=found,
    )
