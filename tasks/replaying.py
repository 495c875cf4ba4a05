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
from tasks.letters import Read, Wanted, opened, read

log = logging.getLogger(__name__)

#: Letters looked at, and jobs queued again, in one slice.
LOOKED, MOST = 1000, 500
#: Between two slices of a replay without a rate, milliseconds.
PAUSE_MS = 250

_wanted = msgspec.json.Decoder(Wanted)


class Replayer:
    def __init__(self, letters: DeadLetters, jobs: JobStore) -> None:
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
        done = skipped = 0
        cursor, found = self._next(replay, wanted)
        for letter, one in found:
            if done == most:
                break
            cursor = letter
            if one is None or not wanted.matches(one):
                # One that was named and is none is worth a word; others just were not meant.
                skipped += bool(wanted.ids)
            elif self._retry(one, replay):
                done += 1
            else:
                skipped += 1
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

    def _retry(self, one: Read, replay: Replay) -> bool:
        """Queue it again; False where its time to start is over, or somebody else was faster."""
        now = self._jobs.now_ms()
        start_by_ms = one.message.start_by_ms(now)
        if 0 < start_by_ms <= now:
            return False
        return self._jobs.retry(one.job, start_by_ms=start_by_ms, replay=keys.replay(replay.id)) == "failed"


def own(job: Job | None, tenant: str) -> Job | None:
    return job if job is not None and job.tenant == tenant else None


def pace(rate: float) -> tuple[int, int]:
    """Of a rate, jobs a second: how many in a slice, and milliseconds to the next."""
    if not rate:
        return MOST, PAUSE_MS
    most = max(1, min(MOST, round(rate * PAUSE_MS / 1000)))
    return most, max(1, round(most / rate * 1000))
