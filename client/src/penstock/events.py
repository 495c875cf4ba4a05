"""Server-sent events, line by line (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from dataclasses import dataclass

from penstock.job import Job


@dataclass(frozen=True, slots=True)
class JobEvent:
    """A change in a job's life."""

    #: `client.jobs.events(job, last_event_id=id)` goes on behind it.
    id: str
    #: The job as it is from then on.
    job: Job


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it was sent."""

    id: str
    name: str
    data: str


class Parser:
    """Takes lines without their ends, and tells an event at the empty line behind it."""

    def __init__(self) -> None:
        self._id = ""
        self._name = ""
        self._data: list[str] = []

    def feed(self, line: str) -> Event | None:
        if not line:
            return self._dispatched()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        # An empty field is a comment: a sign of life.
        if field == "id" and "\0" not in value:
            self._id = value
        elif field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
        return None

    def _dispatched(self) -> Event | None:
        event = Event(self._id, self._name, "\n".join(self._data)) if self._data else None
        self._name, self._data = "", []
        return event
