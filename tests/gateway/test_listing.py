"""Lists: newest first, page by page, only the caller's own."""

from typing import Any

import pytest

from storage import keys
from tests.gateway.gate import ECHO, Gate

READ = {"model": "reader", "inputs": {"image": "a"}}


def ids(gate: Gate, query: str = "", **headers: str) -> list[str]:
    """All pages' job ids."""
    found: list[str] = []
    cursor = ""
    while True:
        page = gate.client.get(f"/v1/jobs?{query}{cursor}", headers=headers).json
        found += [job["id"] for job in page["data"]]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def test_newest_come_first(gate: Gate) -> None:
    made = [gate.submit() for _ in range(5)]
    assert ids(gate) == made[::-1]


def test_record_that_cannot_be_read_hides_no_other(gate: Gate) -> None:
    made = [gate.submit() for _ in range(3)]
    gate.store.hset(keys.job(made[1]), "message", b'{"v": 99}')
    assert ids(gate) == [made[2], made[0]]
    assert ids(gate, "model=echo") == [made[2], made[0]]


@pytest.mark.parametrize("limit", [1, 2, 5, 6])
def test_pages_hold_every_job_once(gate: Gate, limit: int) -> None:
    made = [gate.submit() for _ in range(5)]
    assert ids(gate, f"limit={limit}") == made[::-1]


def test_job_made_meanwhile_does_not_shift_the_pages(gate: Gate) -> None:
    made = [gate.submit() for _ in range(4)]
    first = gate.client.get("/v1/jobs?limit=2").json
    gate.submit()
    second = gate.client.get(f"/v1/jobs?limit=2&cursor={first['next_cursor']}").json
    assert [job["id"] for job in first["data"] + second["data"]] == made[::-1]


def test_filters_keep_what_matches(gate: Gate) -> None:
    plain = gate.submit()
    marked = gate.submit(ECHO | {"metadata": {"order": "A-17", "rush": True, "n": 3}})
    done = gate.submit(READ | {"metadata": {"order": "A-17"}})
    gate.finish(done)
    assert ids(gate, "status=queued") == [marked, plain]
    assert ids(gate, "status=succeeded") == [done]
    assert ids(gate, "model=reader") == [done]
    assert ids(gate, "metadata.order=A-17") == [done, marked]
    assert ids(gate, "metadata.order=A-17&metadata.rush=true&metadata.n=3") == [marked]
    assert ids(gate, "metadata.order=A-17&status=running") == []
    assert ids(gate, "limit=1&status=queued") == [marked, plain]


def test_filter_looks_at_a_bounded_number_of_records(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    import gateway.views.listing as listing

    monkeypatch.setattr(listing, "MAX_SCAN", 4)
    monkeypatch.setattr(listing, "STRIDE", 2)
    wanted = gate.submit(READ)
    for _ in range(6):
        gate.submit()
    page = gate.client.get("/v1/jobs?model=reader&limit=1").json
    assert page["data"] == []
    assert page["next_cursor"] is not None
    assert ids(gate, "model=reader&limit=1") == [wanted]


def test_expired_job_is_not_listed(gate: Gate) -> None:
    id = gate.submit()
    gate.finish(id)
    gate.store.hset(f"penstock:job:{id}", "expires_ms", 1)
    assert ids(gate) == []


def test_other_tenants_jobs_are_not_listed(gate: Gate) -> None:
    acme = {"Authorization": "Bearer " + gate.parts.access.create("acme")}
    theirs, own = gate.submit(ECHO, **acme), gate.submit()
    assert ids(gate) == [own]
    assert ids(gate, **acme) == [theirs]


@pytest.mark.parametrize(
    "query", ["status=done", "status=withdrawn", "limit=0", "limit=501", "limit=x", "limit=²", "cursor=/", "nonsense=1"]
)
def test_wrong_query_is_422_with_its_name(gate: Gate, query: str) -> None:
    answer: Any = gate.client.get(f"/v1/jobs?{query}")
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")
    assert answer.json["errors"][0]["pointer"] == "?" + query.partition("=")[0]
