"""Messages that were no job: what was pushed to the broker and could not be read, for the operator's eyes."""

from typing import Annotated

import msgspec
from flask import Response, request
from msgspec import Meta

from errors import Fault, InvalidInput
from gateway.answers import answer
from gateway.parts import Parts
from gateway.routes import Answer, Parameter, Route
from storage.refused import KEPT
from tasks.job_object import timestamp

DEFAULT_LIMIT = 100


class RefusedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that nobody could be answered for."""

    queue: str
    reason: str
    bytes: Annotated[int, Meta(ge=0)]
    sha256: str
    #: Its first KiB; what is no UTF-8 is shown as `\\xff`.
    begins: str
    refused_at: str | None


class RefusedMessages(msgspec.Struct, frozen=True, kw_only=True):
    """The newest first."""

    object: str = "list"
    data: list[RefusedMessage]


class RefusedViews:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def page(self) -> Response:
        text = request.args.get("limit", str(DEFAULT_LIMIT))
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= KEPT):
            why = f"must be a number from 1 to {KEPT}"
            raise InvalidInput(f"limit {why}", faults=[Fault("?limit", why)])
        return answer(
            RefusedMessages(
                data=[
                    RefusedMessage(
                        queue=seen.refusal.queue,
                        reason=seen.refusal.reason,
                        bytes=seen.refusal.bytes,
                        sha256=seen.refusal.sha256,
                        begins=seen.refusal.begins,
                        refused_at=timestamp(seen.at_ms),
                    )
                    for seen in self.parts.refused.newest(int(text))
                ]
            )
        )


def routes(parts: Parts) -> list[Route]:
    views = RefusedViews(parts)
    return [
        Route(
            method="GET", path="/v1/refused-messages", view=views.page, name="listRefusedMessages",
            tag="dead letters", scope="admin",
            summary="What was pushed to the broker and is no job",
            description=f"The newest {KEPT} are kept; `penstock_refused_messages_total` counts all.",
            parameters=(
                Parameter(
                    name="limit",
                    schema={"type": "integer", "minimum": 1, "maximum": KEPT, "default": DEFAULT_LIMIT},
                ),
            ),
            answers={200: Answer(description="The messages", content={"application/json": RefusedMessages})},
            errors=("invalid_input",),
        )
    ]  # fmt: skip
