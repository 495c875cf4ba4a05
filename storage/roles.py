"""Which of the keys each kind of process touches, as lines of Redis' ACL.

https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/ explains them.

Made from the names in storage/keys.py; a test holds that every name there has its place here, and another runs a farm
whose processes may do no more than this.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from storage import keys

#: What processes may do with the keys that are theirs. Not in it: looking for keys, scripts' own administration,
#: everything that Redis itself calls dangerous.
COMMANDS = (
    "-@all", "+@connection", "+@hash", "+@sortedset", "+@set", "+@list", "+@string", "+@keyspace", "+@transaction",
    "+@pubsub", "+evalsha", "+script|load", "+time", "-@dangerous", "-@blocking", "-scan", "-randomkey", "-dbsize",
    "-pubsub",
)  # fmt: skip
READING = ("-@all", "+@connection", "+@read", "-@dangerous", "-scan", "-randomkey", "-dbsize", "+info")


@dataclass(frozen=True, kw_only=True)
class Role:
    """One kind of process; patterns of keys, and channels."""

    both: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    commands: tuple[str, ...] = COMMANDS

    def rules(self) -> list[str]:
        """What follows the user's name and password in `ACL SETUSER`."""
        keys_ = [f"~{pattern}" for pattern in self.both] + [f"%R~{pattern}" for pattern in self.reads]
        return ["resetkeys", *keys_, "resetchannels", *(f"&{name}" for name in self.channels), *self.commands]


#: A job's life, from whoever makes its record to whoever ends it.
JOBS = (
    keys.DUE, keys.QUEUES, keys.job("*"), keys.tenant_jobs("*"), keys.failed_jobs("*"), keys.waiting("*"),
    keys.IN_FLIGHT, keys.COUNTERS, keys.OUTBOX,
    # Scripts are given the channel as a key, and no key at all (an empty name) where a job has none of a kind.
    keys.DONE, "",
)  # fmt: skip
WORKERS = (keys.WORKERS, keys.worker("*"), keys.gone("*"), keys.statistics("*", "*", "*"))
#: Webhooks' endpoints with their secrets, and what is on its way to them.
HOOKS = (
    keys.SUBSCRIBERS, keys.endpoints("*"), keys.delivery("*"), keys.deliveries("*"), keys.TARGETS, keys.target("*"),
    keys.sending("*"), keys.condition("*"), keys.HOOK_COUNTERS,
)  # fmt: skip
#: Offline runs, and their shards.
SCORINGS = (
    keys.SCORINGS_WAITING, keys.SCORINGS_DRIVEN, keys.SCORINGS_TURNS, keys.tenant_scorings("*"), keys.scoring("*"),
    keys.scoring_shards("*"), keys.scoring_folded("*"), keys.scoring_ended("*"), keys.pins("*"),
)  # fmt: skip
CHANNELS = (keys.DONE, keys.MOVES, keys.scoring_ended("*"))

ROLES: Mapping[str, Role] = {
    "gateway": Role(
        both=(
            *JOBS, *HOOKS, *SCORINGS, keys.idempotency("*", "*"), keys.bucket("*"), keys.replay("*"), keys.replays("*"),
            keys.DEPLOYMENTS, keys.API_KEYS_USED, keys.SECRET,
        ),
        reads=(*WORKERS, keys.API_KEYS, keys.QUOTAS, keys.REFUSED),
        channels=CHANNELS,
    ),
    "worker": Role(
        # The end of a shard's job is told to its scoring.
        both=(*JOBS, *WORKERS, keys.REFUSED, keys.scoring_ended("*")),
        reads=(keys.SUBSCRIBERS, keys.DEPLOYMENTS, keys.scoring("*"), keys.scoring_shards("*")),
        channels=CHANNELS,
    ),
    "orchestrator": Role(
        both=(*JOBS, *HOOKS, *SCORINGS, keys.replay("*"), keys.REFUSED, keys.lock("*"), keys.WORKERS, keys.gone("*")),
        reads=(keys.worker("*"), keys.statistics("*", "*", "*"), keys.QUOTAS),
        channels=CHANNELS,
        # The reaper looks through every job for those that run nowhere any more.
        commands=(*COMMANDS, "+scan"),
    ),
    # Pushes jobs straight to the broker, and reads what came of them: every tenant's.
    "producer": Role(
        reads=(keys.job("*"),), channels=(keys.DONE,), commands=("-@all", "+@connection", "+hget", "+hmget", "+hgetall",
        "+subscribe", "+unsubscribe", "-@dangerous"),
    ),
    "monitor": Role(
        reads=(*WORKERS, keys.COUNTERS, keys.HOOK_COUNTERS, keys.IN_FLIGHT, keys.QUEUES, keys.waiting("*"), keys.DUE),
        commands=READING,
    ),
    # The operator's commands: keys, quotas, requeue.
    "operator": Role(both=(keys.PREFIX + "*",), channels=(keys.PREFIX + "*",)),
}  # fmt: skip


def acl_line(role: str) -> str:
    """A line for Redis' `aclfile`; the password is to be put in."""
    return f"user penstock-{role} on >PASSWORD {' '.join(ROLES[role].rules())}"
