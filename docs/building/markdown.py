"""The pieces of Markdown that the generated pages are made of."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; empty where it has no rows."""
    lines = [f"| {' | '.join(map(cell, row))} |" for row in rows]
    return "\n".join([f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |", *lines]) if lines else ""


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def text_block(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"


def joined(parts: Iterable[str]) -> str:
    """Paragraphs, the empty ones left out."""
    return "\n\n".join(part for part in parts if part) + "\n"
