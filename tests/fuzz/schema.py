"""Requests made from the gateway's own OpenAPI document by schemathesis: what it allows, and what it does not."""

from collections.abc import Callable
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Err


def cases(document: dict[str, Any], *, each: int, number: int, run: Callable[[Any], None]) -> None:
    """Run about `each` cases of every operation, half of them invalid; `number` seeds them."""
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        if isinstance(found, Err):
            raise found.err()
        operation = found.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @seed(number)
            @settings(
                max_examples=max(1, each // 2), database=None, deadline=None, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(operation.as_strategy(generation_mode=mode))
            def one(case: Any) -> None:
                run(case)

            try:
                one()
            except (schemathesis.errors.SchemathesisError, Unsatisfiable):
                continue  # nothing about this operation can be invalid
