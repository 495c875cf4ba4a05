"""The gateway's description of itself: valid, and the same as what it does."""

import re
from typing import Any

import pytest
from openapi_spec_validator import validate

import errors
from errors import OperatorError, PenstockError
from tests.gateway.gate import Gate


@pytest.fixture
def document(gate: Gate) -> Any:
    return gate.client.get("/openapi.json").json


def test_document_is_valid_openapi_3_1(document: Any) -> None:
    assert document["openapi"].startswith("3.1.")
    validate(document)


def test_document_and_routes_are_equal(gate: Gate, document: Any) -> None:
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    served = {
        (method, re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in gate.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert described == served


def test_contract_of_the_jobs_is_there(document: Any) -> None:
    for path in ("/v1/jobs", "/v1/jobs:batch", "/v1/jobs/{id}", "/v1/jobs/{id}/result", "/v1/jobs/{id}/events",
                 "/v1/jobs/{id}/cancel", "/v1/jobs/{id}/retry", "/v1/objects", "/v1/objects:presign",
                 "/v1/objects/{id}", "/v1/scorings", "/v1/scorings/{id}", "/v1/scorings/{id}/cancel",
                 "/v1/scorings/{id}/retry-failed", "/v1/models", "/v1/models/{name}",
                 "/v1/models/{name}/versions/{version}",
                 "/livez", "/readyz", "/metrics", "/openapi.json", "/docs"):  # fmt: skip
        assert path in document["paths"]


def test_answers_fit_their_schemas(gate: Gate, document: Any) -> None:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

    def check(name: str, value: object) -> None:
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        Draft202012Validator(schema).validate(value)

    id = gate.submit()
    check("JobObject", gate.client.get(f"/v1/jobs/{id}").json)
    gate.finish(id)
    check("JobObject", gate.client.get(f"/v1/jobs/{id}").json)
    check("JobPage", gate.client.get("/v1/jobs").json)
    check("Model", gate.client.get("/v1/models/echo").json)
    check("Readiness", gate.client.get("/readyz").json)
    check("Problem", gate.client.get("/nothing").json)
    uploaded = gate.client.post("/v1/objects", data=b"x\n1\n").json
    check("ObjectInfo", uploaded)
    wish = {"model": "narrow", "input": {"object": uploaded["id"]}}
    check("ScoringWish", wish)
    check("ScoringWish", {"model": "narrow", "input": "s3://lake/rows.csv"})
    check("ScoringObject", gate.client.post("/v1/scorings", json=wish).json)
    check("ScoringPage", gate.client.get("/v1/scorings").json)
    check("Outcomes", gate.client.post("/v1/jobs:batch", json=[1]).json)


def test_every_error_a_client_can_meet_has_one_status() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PenstockError)]
    statuses: dict[str, set[int]] = {}
    for kind in kinds:
        if not issubclass(kind, OperatorError):
            statuses.setdefault(kind.code, set()).add(kind.status)
    assert {code for code, found in statuses.items() if len(found) > 1} == set()


def test_docs_name_every_route_and_load_nothing_from_elsewhere(gate: Gate, document: Any) -> None:
    answer = gate.client.get("/docs")
    assert answer.content_type.startswith("text/html")
    for path in document["paths"]:
        assert f"<code>{path}</code>" in answer.text
    assert not re.search(r"<script|src=|@import|https?://", answer.text)
