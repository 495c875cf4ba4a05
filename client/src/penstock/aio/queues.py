"""`client.queues`: what waits, model by model, and how long that will take.

Written by `python -m client.twin` from penstock.queues: change that.
"""

from typing import TYPE_CHECKING

from penstock.errors import UnexpectedAnswer
from penstock.job import known
from penstock.queues import ModelQueue, Queues

if TYPE_CHECKING:
    from penstock.aio.transport import AsyncTransport


async def queues(transport: "AsyncTransport") -> Queues:
    """What waits now."""
    found = (await transport.send("GET", "/v1/queues")).json()
    if not isinstance(found, dict) or not isinstance(found.get("data"), list):
        raise UnexpectedAnswer("the answer is no list of queues: is this address a Penstock gateway?")
    own = found.get("in_flight") or {}
    return Queues(
        queues=tuple(ModelQueue(**known(ModelQueue, one)) for one in found["data"]),
        in_flight=int(own.get("jobs", 0)),
        in_flight_limit=own.get("limit"),
        raw=found,
    )
