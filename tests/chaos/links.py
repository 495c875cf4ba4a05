"""Faults of the network between one process and one server."""

import random
from collections.abc import Callable

from tests.chaos.farm import ChaosFarm
from tests.chaos.proxy import Conditions, Way

Heal = Callable[[], None]


def drawn(farm: ChaosFarm, draw: random.Random) -> str:
    return farm.only or draw.choice(sorted(farm.proxies.links))


def healed(farm: ChaosFarm, name: str) -> Heal:
    farm.note(name)
    return lambda: farm.proxies.heal(name)


def cut(farm: ChaosFarm, draw: random.Random) -> Heal:
    name = drawn(farm, draw)
    farm.proxies.cut(name)
    return healed(farm, name)


def held(*ways: Way) -> Callable[[ChaosFarm, random.Random], Heal]:
    def hold(farm: ChaosFarm, draw: random.Random) -> Heal:
        name = drawn(farm, draw)
        farm.proxies.links[name].now.held = frozenset(ways)
        return healed(farm, name)

    return hold


hold_up, hold_down, hold_both = held(Way.UP), held(Way.DOWN), held(Way.UP, Way.DOWN)


def half_open(farm: ChaosFarm, draw: random.Random) -> Heal:
    name = drawn(farm, draw)
    farm.proxies.forget(name)
    return healed(farm, name)


def tear(farm: ChaosFarm, draw: random.Random) -> Heal:
    name = drawn(farm, draw)
    farm.proxies.tear(name)
    return healed(farm, name)


def weather(change: Callable[[Conditions], None], names: Callable[[ChaosFarm], list[str]]) -> Callable[..., Heal]:
    def inject(farm: ChaosFarm, draw: random.Random) -> Heal:
        name = farm.only or draw.choice(names(farm))
        change(farm.proxies.links[name].now)
        return healed(farm, name)

    return inject


def every(farm: ChaosFarm) -> list[str]:
    return sorted(farm.proxies.links)


def sluggish(now: Conditions) -> None:
    now.rate = 20_000


def distant(now: Conditions) -> None:
    now.latency_s = 0.2


def unconfirmed(now: Conditions) -> None:
    now.drops_confirms = True


def unhurried(now: Conditions) -> None:
    now.ack_delay_s = 1.0


slow = weather(sluggish, every)
late = weather(distant, every)
drop_confirms = weather(unconfirmed, lambda farm: ["gateway/broker", "orchestrator/broker"])
delay_acks = weather(unhurried, lambda farm: ["worker-cpu/broker"])
