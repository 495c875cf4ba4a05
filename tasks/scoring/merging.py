"""What the shards wrote, as one output and one error file: in row order, in constant memory, always the same bytes."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from storage.objects import Objects
from storage.scoring import Failure, Spec
from storage.streams import Stored


def merge(
    spec: Spec, objects: Objects, rounds: Sequence[Sequence[str]], key: str, told: Callable[[int], None]
) -> Stored:
    """Write the output under `key` in `spec.output_format`.

    `rounds`: for each round the keys of its shards' output files in row order. `told` is called now and then with
    the rows written so far.
    """
    raise NotImplementedError


def merge_failures(objects: Objects, parts: Iterable[Sequence[Failure] | str], key: str) -> Stored:
    """Write an error file under `key`: `parts` in row order, each failures or the key of a JSON-lines file of them."""
    raise NotImplementedError


def failed_rows(objects: Objects, key: str) -> Iterator[Failure]:
    """The failures in an error file, in row order."""
    raise NotImplementedError
