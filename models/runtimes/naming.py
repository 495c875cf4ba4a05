"""A graph's own names beside those of the manifest."""

from errors import LoadError
from models.catalog import Entry


def compare(entry: Entry, side: str, graph: list[str], translated: bool) -> None:
    """Hold the graph's names against the manifest's where no handler stands between them; raises LoadError."""
    declared = [tensor.name for tensor in getattr(entry.manifest, side)]
    if not translated and set(declared) != set(graph):
        raise LoadError(f"{entry.path}: the manifest declares the {side} {declared}, the graph has {graph}")
