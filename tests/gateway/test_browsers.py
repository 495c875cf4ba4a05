"""What a browser may do with an answer: nothing. And what strangers are told of the farm: hardly anything."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.app import all_routes
from gateway.asked import Reply
from gateway.browsers import ALWAYS
from gateway.front import send
from tests.gateway.gate import ECHO, Gate
from tests.gateway.test_access import bearer

PAGE = b"<html><script>alert(document.domain)</script>"


def test_every_answer_tells_browsers_to_run_and_keep_nothing(gate: Gate) -> None:
    for route in all_routes(gate.parts):
        path = route.path.replace("<", "").replace(">", "")
        with gate.client.open(path, method=route.method) as answer:
            for name, value in ALWAYS:
                assert answer.headers.get_all(name) in ([value], [answer.headers[name]]), (route.name, name)
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            if not route.public:
                assert answer.headers["Cache-Control"] == "no-store"
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert not any(digit.isdigit() for digit in answer.headers.get("Server", ""))


def test_quick_answers_have_the_same_headers() -> None:
    class Exchange:
        def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.headers = headers

    exchange: Any = Exchange()
    send(exchange, Reply(200, b"{}", {}), "1")
    assert set(ALWAYS) <= set(exchange.headers)


def test_answers_of_errors_and_unknown_paths_have_them_too(gate: Gate) -> None:
    for path in ("/nothing", "/v1/jobs/job_1", "/v1/objects/<script>"):
        answer = gate.client.get(path)
        assert answer.content_type == "application/problem+json"
        assert answer.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("name", ["page.html", "image.svg"])
def test_uploaded_page_is_sent_as_an_attachment_of_no_type(gate: Gate, name: str) -> None:
    id = gate.client.post("/v1/objects", data=PAGE, content_type="text/html").json["id"]
    answer = gate.client.get(f"/v1/objects/{id}")
    assert answer.data == PAGE
    assert (answer.content_type, answer.headers["Content-Disposition"]) == ("application/octet-stream", "attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_no_other_origin_is_allowed_anything(make: Callable[..., Gate]) -> None:
    gate = make(host="0.0.0.0")
    headers = {"Origin": "https://evil.example"} | bearer(gate.parts.access.create("acme"))
    for method in ("OPTIONS", "POST"):
        answer = gate.client.open("/v1/jobs", method=method, json=ECHO, headers=headers)
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]
    preflight = {"Access-Control-Request-Method": "POST", "Origin": "https://evil.example"}
    assert gate.client.options("/v1/jobs", headers=preflight).status_code == 405


def test_readiness_tells_strangers_no_more_than_a_balancer_needs(make: Callable[..., Gate]) -> None:
    gate = make(host="0.0.0.0", object_ttl_s=5)
    key = bearer(gate.parts.access.create("acme", scopes=["read"]))
    elsewhere = {"REMOTE_ADDR": "203.0.113.9"}

    def ask(headers: dict[str, str], **environ: str) -> Any:
        return gate.client.get("/readyz", headers=headers, environ_overrides=environ).json

    whole = ask({})
    assert whole["models"]
    assert whole["broken"]
    for told in (
        ask({}, **elsewhere),
        ask({"X-Forwarded-For": "203.0.113.9"}),
        ask({"Forwarded": "for=203.0.113.9"}),
        ask(bearer("psk_wrong"), **elsewhere),
    ):
        assert told == {
            "status": whole["status"], "store": {"ready": True}, "broker": {"ready": True}, "objects": {"ready": True},
            "models": {}, "broken": {},
        }  # fmt: skip
    assert ask(key, **elsewhere)["models"] == whole["models"]
