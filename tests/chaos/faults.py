"""The table of faults: how each is injected, and how it heals.

A fault is called with the farm and a random number generator, breaks something, and returns what heals it. Faults run
on one thread, the one that started the farm's processes.
"""

import random
from collections.abc import Callable
from typing import NamedTuple

from tests.chaos import links, processes, servers
from tests.chaos.farm import ChaosFarm, Way

Heal = Callable[[], None]
Inject = Callable[[ChaosFarm, random.Random], Heal]


class Fault(NamedTuple):
    inject: Inject
    #: How long it lasts, seconds: the least and the most.
    lasts_s: tuple[float, float] = (2.0, 6.0)
    #: Where it can be made.
    ways: frozenset[Way] = frozenset(Way)


#: Where there is a network, and servers that are no Penstock's.
REAL = frozenset({Way.SERVERS, Way.CLUSTER})
#: Where one node is the broker.
SINGLE = frozenset({Way.SERVERS})
AT_ONCE = (0.0, 0.5)

FAULTS: dict[str, Fault] = {
    "kill-gateway": Fault(processes.kill("gateway"), (0.0, 4.0)),
    "kill-worker": Fault(processes.kill("worker-cpu"), (0.0, 4.0)),
    "kill-orchestrator": Fault(processes.kill("orchestrator"), (0.0, 6.0)),
    "kill-executor": Fault(processes.kill_executor, AT_ONCE),
    "restart-worker": Fault(processes.restart("worker-cpu"), AT_ONCE),
    "restart-gateway": Fault(processes.restart("gateway"), AT_ONCE),
    "stop-gateway": Fault(processes.stop("gateway")),
    "stop-worker": Fault(processes.stop("worker-cpu"), (2.0, 12.0)),
    "stop-orchestrator": Fault(processes.stop("orchestrator"), (2.0, 15.0)),
    "stop-executor": Fault(processes.stop_executor),
    "kill-redis": Fault(servers.kill("redis"), (0.0, 5.0)),
    "stop-redis": Fault(servers.stop("redis")),
    "kill-broker": Fault(servers.kill("broker"), (0.0, 4.0), ways=SINGLE),
    "stop-broker": Fault(servers.stop("broker"), ways=SINGLE),
    "kill-objects": Fault(servers.kill_gateway_of_objects, (0.0, 6.0), ways=REAL),
    "stop-objects": Fault(servers.stop("objects"), ways=REAL),
    "full-disk": Fault(servers.full_disk, ways=REAL),
    "kill-leader": Fault(servers.kill_leader, (1.0, 6.0), ways=frozenset({Way.CLUSTER})),
    "memory-alarm": Fault(servers.memory_alarm, (1.0, 5.0), ways=REAL),
    "purge": Fault(servers.purge, AT_ONCE),
    "duplicates": Fault(servers.duplicates, AT_ONCE),
    "clock-ahead": Fault(processes.shift_clock(+600), (3.0, 10.0)),
    "clock-behind": Fault(processes.shift_clock(-600), (3.0, 10.0)),
    "cut": Fault(links.cut, (1.0, 8.0), ways=REAL),
    "hold-up": Fault(links.hold_up, (1.0, 10.0), ways=REAL),
    "hold-down": Fault(links.hold_down, (1.0, 10.0), ways=REAL),
    "hold-both": Fault(links.hold_both, (1.0, 10.0), ways=REAL),
    "half-open": Fault(links.half_open, AT_ONCE, ways=REAL),
    "tear": Fault(links.tear, AT_ONCE, ways=REAL),
    "slow": Fault(links.slow, ways=REAL),
    "late": Fault(links.late, ways=REAL),
    "drop-confirms": Fault(links.drop_confirms, ways=REAL),
    "delay-acks": Fault(links.delay_acks, (2.0, 10.0), ways=REAL),
}


def known(names: str, way: Way) -> dict[str, Fault]:
    """Those named, separated by commas, or all that can be made; raises ValueError for a name that is none.

    `half-open@worker-cpu/broker` is a fault of the network on that link alone.
    """
    possible = {name: fault for name, fault in FAULTS.items() if way in fault.ways}
    if not names:
        return possible
    wanted = names.split(",")
    if unknown := [name for name in wanted if name.partition("@")[0] not in possible]:
        raise ValueError(f"no such fault: {', '.join(unknown)}; there are {', '.join(possible)}")
    return {name: on(possible[kind], link) for name in wanted for kind, _, link in [name.partition("@")]}


def on(fault: Fault, link: str) -> Fault:
    def inject(farm: ChaosFarm, draw: random.Random) -> Heal:
        farm.only = link
        try:
            return fault.inject(farm, draw)
        finally:
            farm.only = ""

    return fault._replace(inject=inject)


def deck(draw: random.Random, faults: dict[str, Fault]) -> list[str]:
    """An order in which each comes once."""
    names = list(faults)
    draw.shuffle(names)
    return names
