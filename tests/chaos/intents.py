"""What clients want: jobs drawn by a seed, each with an input that no other has."""

import itertools
import random
import threading

from tests.chaos.history import Intent, Sort

#: Share of poisonous jobs among those of the model `poison`.
POISON = 0.01
#: How often each model is asked.
SHARES = {"quick": 81, "slow": 8, "poison": 5, "moody": 6}
#: Share of submissions that want to be called back.
WEBHOOKS = 0.15
LANES = ("high", "normal", "normal", "normal", "low")
#: Filling of an input that is too large to travel in a message, characters.
WIDE = "x" * 70_000


class Wishes:
    """Draws intents; thread-safe."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(f"wishes {seed}")
        self._seed = seed
        self._numbers = itertools.count()
        self._guard = threading.Lock()

    def next(self, *, pushed: bool = False) -> Intent:
        with self._guard:
            draw, number = self._draw, next(self._numbers)
            model = draw.choices(list(SHARES), list(SHARES.values()))[0]
            verb, sort = self._verb(model)
            if pushed and verb == "wide":
                verb = "say"
            webhook = not pushed and draw.random() < WEBHOOKS
        key = f"c{self._seed}-{number}"
        text = f"{verb}:{key}" + (WIDE if verb == "wide" else "")
        return Intent(key=key, model=model, input=text, sort=sort, pushed=pushed, webhook=webhook)

    def _verb(self, model: str) -> tuple[str, Sort]:
        draw = self._draw
        if model == "poison" and draw.random() < POISON:
            return draw.choices(("segv", "oom", "hang"), (60, 25, 15))[0], Sort.POISON
        if model == "moody":
            return draw.choice(
                (("bad", Sort.BAD), ("flaky", Sort.FLAKY), ("flaky", Sort.FLAKY), ("say", Sort.INNOCENT))
            )
        return draw.choices(("say", "large", "wide"), (94, 4, 2))[0], Sort.INNOCENT
