"""A route: what Flask needs to know of it, and what the OpenAPI document says of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from storage.access import Scope

#: A quick one is a coroutine that takes an `Asked` and the path's variables, and returns a `Reply`.
View = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A query parameter or a request header."""

    name: str
    where: str = "query"
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Body:
    """A request body: media type to a msgspec type, or to a JSON schema."""

    content: Mapping[str, Any]
    required: bool = True
    #: Bytes that it may have at most; 0: as many as the settings allow.
    max_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One kind of answer: what it means, and media type to a msgspec type or a JSON schema."""

    description: str
    content: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Route:
    method: str
    #: As Flask writes it, with `<name>`.
    path: str
    view: View
    #: `operationId` and Flask's endpoint.
    name: str
    tag: str
    summary: str
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    answers: Mapping[int, Answer]
    #: Codes of the errors it may answer with, beside those that every route may.
    errors: tuple[str, ...] = ()
    #: True where no API key is asked for.
    public: bool = False
    #: What the caller's key must be allowed to do; None only where no key is asked for.
    scope: Scope | None = None
    #: True where the view computes for less than a millisecond and waits as a coroutine: it runs on the event loop.
    quick: bool = False

    def __post_init__(self) -> None:
        # A route that is forgotten must not be open, nor one that says both.
        if self.public is (self.scope is not None):
            raise ValueError(f"route {self.name} is either public or has a scope")

    def largest(self, usual: int) -> int:
        """Bytes of the largest body that it takes; `usual`: where the route says nothing of its own."""
        return 0 if self.body is None else self.body.max_bytes or usual
