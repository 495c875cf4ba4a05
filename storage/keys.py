"""The names of everything Penstock keeps in Redis. One place, so that an ACL can be written from it."""

#: Every key and channel begins with this.
PREFIX = "penstock:"
#: Sorted set of what is due later: score milliseconds, member `<kind>:<id>`.
DUE = PREFIX + "due"
#: Set of the lanes' queues that ever had a job.
QUEUES = PREFIX + "queues"
#: Channel that carries the ids, separated by spaces, of the jobs that reached a terminal state together.
DONE = PREFIX + "done"
#: Channel that carries the ids of the jobs that started, or went back to the queue.
MOVES = DONE + ":moves"
#: Sorted set of worker names by the time their last sign of life runs out.
WORKERS = PREFIX + "workers"
#: Hash of what operators asked for: model -> JSON of its record.
DEPLOYMENTS = PREFIX + "deployments"
#: Hash of API keys: SHA-256 of the key -> JSON of what it may do.
API_KEYS = PREFIX + "keys"
#: Hash of API keys' ids -> when they were used last.
API_KEYS_USED = API_KEYS + ":used"
#: The secret that signs links to objects.
SECRET = PREFIX + "secret"
#: Hash of how many jobs each tenant has queued or running.
IN_FLIGHT = PREFIX + "in_flight"
#: Hash of quotas: tenant -> JSON.
QUOTAS = PREFIX + "quotas"
#: Sorted set of messages that were refused, JSON, by the time they were.
REFUSED = PREFIX + "refused"
#: Hash of counters: jobs by terminal state, refused commits.
COUNTERS = PREFIX + "counters"

#: Sorted set of events that webhooks are to tell of: score milliseconds, member `<event>:<number>:<job>`.
OUTBOX = PREFIX + "outbox"
#: Hash of the tenants that have an enabled webhook endpoint: tenant -> the events wanted, separated by spaces.
SUBSCRIBERS = PREFIX + "subscribers"
#: Sorted set of webhook targets, by the time when something is to be sent there.
TARGETS = PREFIX + "targets"
#: Hash of counters: what came of webhooks.
HOOK_COUNTERS = PREFIX + "hookcounters"

#: Sorted set of the scorings that nobody drives yet, `<tenant>/<id>`; equal scores: they sort by tenant and time.
SCORINGS_WAITING = PREFIX + "scorings.waiting"
#: Sorted set of the scorings that are driven, `<tenant>/<id>`, by the time when their driver's lease runs out.
SCORINGS_DRIVEN = PREFIX + "scorings.driven"
#: Hash of the tenants whose scorings were driven: tenant -> the number of its last turn.
SCORINGS_TURNS = PREFIX + "scorings.turns"


def job(id: str) -> str:
    return PREFIX + "job:" + id


def tenant_jobs(tenant: str) -> str:
    """Sorted set of a tenant's job ids; equal scores, so that ids (ULIDs) sort by time."""
    return PREFIX + "jobs:" + tenant


def failed_jobs(tenant: str) -> str:
    """Sorted set of a tenant's dead letters: ids of the jobs that failed, by the time they did, milliseconds."""
    return PREFIX + "failed:" + tenant


def waiting(queue: str) -> str:
    """Sorted set of the ids that wait in one lane's queue, by the time they were queued."""
    return PREFIX + "waiting:" + queue


def idempotency(tenant: str, digest: str) -> str:
    return PREFIX + "idem:" + tenant + ":" + digest


def lock(name: str) -> str:
    """Held by the one orchestrator that does what no two should do at once."""
    return PREFIX + "lock:" + name


def bucket(tenant: str) -> str:
    """Hash of what is left of a tenant's rates."""
    return PREFIX + "bucket:" + tenant


def replay(id: str) -> str:
    """Hash of one replay of dead letters."""
    return PREFIX + "replay:" + id


def replays(tenant: str) -> str:
    """Set of a tenant's replays that run; one that has ended stays until the next begins."""
    return PREFIX + "replays:" + tenant


def passed(queue: str) -> str:
    """When the job that was claimed last in a lane's queue had been put there, milliseconds."""
    return waiting(queue) + ":passed"


def worker(name: str) -> str:
    return PREFIX + "worker:" + name


def gone(name: str) -> str:
    """There while a worker is known to have died, for as long as that may matter."""
    return PREFIX + "gone:" + name


def ended(id: str, number: int) -> str:
    """A job's record as it was at its end, where it was retried before its webhooks knew."""
    return job(id) + f":{number}"


def endpoints(tenant: str) -> str:
    """Hash of a tenant's webhook endpoints: id -> JSON, their secrets included."""
    return PREFIX + "webhooks:" + tenant


def pins(object: str) -> str:
    """Sorted set of the scorings that read an upload, by the time they were accepted."""
    return PREFIX + "pins:" + object


def delivery(id: str) -> str:
    """One webhook on its way to one target."""
    return PREFIX + "delivery:" + id


def deliveries(job: str) -> str:
    """List of the ids of a job's deliveries, oldest first; of a scoring's, where it is `scoring:<id>`."""
    return PREFIX + "deliveries:" + job


def target(name: str) -> str:
    """Sorted set of the deliveries that wait for one target, by the time of their next sending."""
    return PREFIX + "target:" + name


def sending(name: str) -> str:
    """Sorted set of what is being sent to one target, or for one tenant, by the time when its lease runs out."""
    return PREFIX + "sending:" + name


def condition(target: str) -> str:
    """Hash of how a target fares: `good_ms` last success, `failing_ms` since when there was none."""
    return PREFIX + "condition:" + target


def statistics(pool: str, model: str, version: str) -> str:
    """Hash of what one model version's executors did in one pool."""
    return PREFIX + f"statistics:{pool}:{model}:{version}"


def scoring(id: str) -> str:
    """Hash of one scoring: what was asked, what has become of it, and how far its driver is."""
    return PREFIX + "scoring:" + id


def scoring_end(id: str, number: int) -> str:
    """A scoring's record as it was at its end, where it was run again before its webhooks knew."""
    return scoring(id) + f":{number}"


def scoring_shards(id: str) -> str:
    """Hash of a scoring's shards that are out, or done before one that comes first: number -> what it is."""
    return scoring(id) + ":shards"


def scoring_folded(id: str) -> str:
    """List of a scoring's shards that are done, in row order, until an index in the object store has them."""
    return scoring(id) + ":folded"


def scoring_ended(id: str) -> str:
    """Set of a scoring's shard jobs that ended and were not looked at; also the channel that tells of them."""
    return scoring(id) + ":ended"


def tenant_scorings(tenant: str) -> str:
    """Sorted set of a tenant's scoring ids; equal scores, so that ids (ULIDs) sort by time."""
    return PREFIX + "scorings:" + tenant
