"""Making a batch's jobs ours, just before they run."""

from collections.abc import Sequence
from typing import TypeVar

from errors import StoreUnavailable, WorkerLost
from storage.jobs import Claim, JobStore, Standing, Verdict, Want
from tasks import reply
from workers.commit import Committer, problem
from workers.hands import Hands
from workers.lane import Delivery
from workers.stepping import StepEntry, jobs_of

W = TypeVar("W", Delivery, Delivery | StepEntry)
#: Workers that may die under a job that they run in a batch of its own, before it fails. What a batch loses together
#: is shown and fails nobody: executors are processes of their own, so a worker's death is hardly a job's doing, and a
#: job that has seen two of them runs alone (storage/lua/claim.lua).
LOSSES_ALLOWED = 5


class Claimer:
    """Claims for one executor, so that the record can tell on which device the job runs."""

    def __init__(self, jobs: JobStore, committer: Committer, hands: Hands, *, device: str) -> None:
        self._jobs = jobs
        self._committer = committer
        self._hands = hands
        self._device = device

    def claim(self, batch: Sequence[W]) -> list[W]:
        """What is to be run; other jobs are settled. Raises Stopped when the store stays away."""
        fresh = [delivery for delivery in jobs_of(batch) if delivery.claim is None]
        claims = self._claims(fresh)
        if any(claim.verdict is Verdict.MISSING for claim in claims):
            claims = self._committer.insist(lambda: self._made(fresh, claims))
        for delivery, claim in zip(fresh, claims, strict=True):
            # Of a retry the record alone still knows.
            delivery.reply = delivery.reply or reply.decode(claim.reply)
            if claim.verdict is Verdict.RUN:
                delivery.claim = claim
                # It has started in time, whatever comes now.
                delivery.start_by_ms = 0
        self._hands.settle(delivery for delivery in fresh if delivery.claim is None)
        return [work for work in batch if work.wanted]

    def standing(self, held: Sequence[tuple[str, int]]) -> list[Standing]:
        """Whether jobs that we run, by id and token, still are ours; taken for granted while the store is away."""
        try:
            return self._jobs.standing(held)
        except StoreUnavailable:
            # The commit looks again, and waits for the store.
            return [Standing.OURS] * len(held)

    def _made(self, deliveries: Sequence[Delivery], claims: Sequence[Claim]) -> list[Claim]:
        """Claims with those in place that found no record: it was lost, or the job was pushed straight to the queue.

        Each is made from its message. Raises StoreUnavailable where one is missing all the same: only with a record
        may a message be settled.
        """
        missing = [d for d, claim in zip(deliveries, claims, strict=True) if claim.verdict is Verdict.MISSING]
        records = [(d.record(), 0) for d in missing]
        self._committer.insist(lambda: self._jobs.create_all(records))
        found = self._claims(missing)
        if lost := [d.id for d, claim in zip(missing, found, strict=True) if claim.verdict is Verdict.MISSING]:
            raise StoreUnavailable(f"the record of job {lost[0]} was lost as soon as it was made")
        again = iter(found)
        return [next(again) if claim.verdict is Verdict.MISSING else claim for claim in claims]

    def _claims(self, deliveries: Sequence[Delivery]) -> list[Claim]:
        if not deliveries:
            return []
        wants = [Want(d.message.id, d.lane.queue, d.redelivered, f"{d.lane.consumer}/{d.tag}") for d in deliveries]
        lost = problem(WorkerLost(f"{LOSSES_ALLOWED + 1} workers died while they ran this job alone"))
        return self._committer.insist(
            lambda: self._jobs.claim_all(wants, device=self._device, losses_allowed=LOSSES_ALLOWED, lost_error=lost)
        )
