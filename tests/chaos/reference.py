"""What the chaos models answer, computed from a job's own input: an answer that belongs to another job shows."""

import hashlib
import json

#: Longer than what travels inline, bytes; `large:` inputs are answered with so much.
LARGE = 70_000


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def answer(text: str) -> str:
    """The model's answer to one text."""
    found = digest(text)
    return (found + "-") * (LARGE // len(found)) if text.startswith("large:") else found


def outputs(text: str) -> str:
    """The job's outputs, JSON in the form that `canonical` gives."""
    return canonical({"said": [answer(text)]})


def canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
