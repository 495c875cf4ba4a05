"""Replays: dead letters are sent back to the queue, oldest first, so many a second.

A replay stands in Redis with the place that it has come to, and in the due set; each time that it is due, a slice of it
is done. A crash repeats a slice: what was queued again in it is a dead letter no more, so nothing is queued twice.
"""

import logging

import msgspec

from storage import keys
from storage.deadletters import DeadLetters, Letter, Replay
from storage.job import Job
from storage.jobs import Due, JobStore
from storage.quotas import Quotas
from tasks.letters import Read, Wanted, opened, read

log = logging.getLogger(__name__)

#: Letters looked at, and jobs queued again, in one slice.
LOOKED, MOST = 1000, 500
#: Between two slices of a replay without a rate, and where its tenant has as many jobs as it may, milliseconds.
PAUSE_MS, FULL_PAUSE_MS = 250, 1000
#: Between two slices of the slowest one.
LONGEST_MS = 3_600_000

_wanted = msgspec.json.Decoder(Wanted)


class Replayer:
    def __init__(self, letters: DeadLetters, jobs: JobStore, quotas: Quotas) -> None:
        self._quotas = quotas
        self._letters = letters
        self._jobs = jobs

    def step(self, due: Due, id: str) -> None:
        """Do the slice that is due."""
        replay = self._letters.replay(id)
        if replay is None or replay.status != "running":
            self._jobs.settle(due)
            return
        wanted = _wanted.decode(replay.wanted)
        most, interval_ms = pace(replay.rate)
        most_in_flight = self._quotas.get(replay.tenant).max_in_flight
        done = skipped = 0
        cursor, found = self._next(replay, wanted)
        for letter, one in found:
            if done == most:
                break
            outcome = self._retry(one, replay, most_in_flight) if one is not None and wanted.matches(one) else ""
            if outcome == "quota":
                interval_ms = max(interval_ms, FULL_PAUSE_MS)
                break
            cursor = letter
            done += outcome == "failed"
            # One that was named and is no dead letter is worth a word; others just were not meant.
            skipped += outcome != "failed" if outcome or wanted.ids else 0
        if not found:
            self._letters.end(id, "completed")
            log.info("replay completed", extra={"replay": id, "tenant": replay.tenant})
            return
        # Not from when it was due: a relay that was away does not catch up at once.
        self._letters.advance(replay, cursor, skipped=skipped, due=due, next_ms=self._jobs.now_ms() + interval_ms)

    def _next(self, replay: Replay, wanted: Wanted) -> tuple[Letter, list[tuple[Letter, Read | None]]]:
        """Where the replay stands, and what comes next."""
        cursor = replay.cursor
        if wanted.ids:
            letters = [Letter(number, id) for number, id in enumerate(wanted.ids, 1)][
                cursor.at_ms : cursor.at_ms + MOST
            ]
            jobs = self._jobs.get_all([letter.id for letter in letters])
            return cursor, [
                (letter, opened(letter, own(job, replay.tenant))) for letter, job in zip(letters, jobs, strict=True)
            ]
        letters = self._letters.oldest(
            replay.tenant, after=cursor, since_ms=wanted.since_ms, until_ms=wanted.until_ms, limit=LOOKED
        )
        known = {one.letter: one for one in read(self._jobs, letters)}
        return cursor, [(letter, known.get(letter)) for letter in letters]

    def _retry(self, one: Read, replay: Replay, in_flight: int) -> str:
        """Queue it again: "failed"; "quota" where its tenant has as many in flight as it may; else it cannot be."""
        now = self._jobs.now_ms()
        start_by_ms = one.message.start_by_ms(now)
        if 0 < start_by_ms <= now:
            return "late"
        key = keys.replay(replay.id)
        return self._jobs.retry(one.job, start_by_ms=start_by_ms, replay=key, in_flight=in_flight)


def own(job: Job | None, tenant: str) -> Job | None:
    return job if job is not None and job.tenant == tenant else None


def pace(rate: float) -> tuple[int, int]:
    """Of a rate, jobs a second: how many in a slice, and milliseconds to the next."""
    if not rate:
        return MOST, PAUSE_MS
    most = max(1, min(MOST, round(rate * PAUSE_MS / 1000)))
    # A rate from before there was a slowest may be too small to count with.
    return most, round(max(1.0, min(LONGEST_MS, most / rate * 1000)))
