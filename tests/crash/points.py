"""The steps of a job's way at which a process can die: role, module, function, and whether before or after it."""

from typing import NamedTuple


class Point(NamedTuple):
    #: The process that dies.
    role: str
    module: str
    function: str
    when: str


POINTS: dict[str, Point] = {
    # The gateway, from a checked request to its answer.
    "gateway-before-record": Point("gateway", "storage.jobs", "JobStore.create_all", "before"),
    "gateway-after-record": Point("gateway", "storage.jobs", "JobStore.create_all", "after"),
    "gateway-before-publish": Point("gateway", "tasks.link", "AmqpLink.send", "before"),
    "gateway-after-publish": Point("gateway", "tasks.link", "AmqpLink.send", "after"),
    "gateway-after-confirm": Point("gateway", "tasks.link", "AmqpLink._settle", "after"),
    "gateway-before-answer": Point("gateway", "gateway.views.jobs", "JobViews.accepted", "before"),
    "gateway-after-answer": Point("gateway", "gateway.views.jobs", "JobViews.accepted", "after"),
    # The worker, from a delivery to its acknowledgement.
    "worker-before-claim": Point("worker", "storage.jobs", "JobStore.claim_all", "before"),
    "worker-after-claim": Point("worker", "storage.jobs", "JobStore.claim_all", "after"),
    "worker-after-send": Point("worker", "workers.executor", "Executor.send", "after"),
    "worker-after-receive": Point("worker", "workers.executor", "Executor.receive", "after"),
    "worker-after-commit": Point("worker", "storage.jobs", "JobStore.finish_all", "after"),
    "worker-after-requeue": Point("worker", "storage.jobs", "JobStore.requeue_all", "after"),
    "worker-before-ack": Point("worker", "workers.lane", "Lane.flush", "before"),
    "worker-after-ack": Point("worker", "workers.lane", "Lane.flush", "after"),
    # The executor, around the model and the object that holds a large result.
    "executor-before-run": Point("executor", "models.loading", "LoadedModel.run", "before"),
    "executor-after-run": Point("executor", "models.loading", "LoadedModel.run", "after"),
    "executor-before-object": Point("executor", "storage.s3", "S3.put", "before"),
    "executor-after-object": Point("executor", "storage.s3", "S3.put", "after"),
    # The orchestrator, that publishes a retry when its time has come.
    "orchestrator-before-release": Point("orchestrator", "storage.jobs", "JobStore.release", "before"),
    "orchestrator-after-release": Point("orchestrator", "storage.jobs", "JobStore.release", "after"),
    "orchestrator-after-publish": Point("orchestrator", "tasks.publisher", "Publisher.publish", "after"),
    # The orchestrator, from an end in the outbox to a webhook that was delivered.
    "orchestrator-before-expand": Point("orchestrator", "storage.deliveries", "Deliveries.expand", "before"),
    "orchestrator-after-expand": Point("orchestrator", "storage.deliveries", "Deliveries.expand", "after"),
    "orchestrator-after-dispatch": Point("orchestrator", "storage.deliveries", "Deliveries.dispatch", "after"),
    "orchestrator-after-take": Point("orchestrator", "storage.deliveries", "Deliveries.take", "after"),
    "orchestrator-after-post": Point("orchestrator", "tasks.webhooks.sending", "post", "after"),
    "orchestrator-after-attempted": Point("orchestrator", "storage.deliveries", "Deliveries.attempted", "after"),
}
