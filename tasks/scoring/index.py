"""Shards that are done, in row order, as objects: so Redis holds a few of them however large the table is."""

from collections.abc import Iterator, Sequence

import msgspec

from storage.objects import Objects
from tasks.scoring.shard import Places, Shard

#: Shards of an index object.
SHARDS_EACH = 128

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Shard]).decode


class Index:
    """Written again, a part has the same bytes. Methods raise ObjectsUnavailable."""

    def __init__(self, objects: Objects, places: Places) -> None:
        self._objects = objects
        self._places = places

    def write(self, round: int, part: int, shards: Sequence[Shard]) -> None:
        self._objects.put(self._places.index(round, part), [_encode(shards)])

    def read(self, round: int, parts: int) -> Iterator[Shard]:
        """A round's shards in row order; `parts`: of how many objects."""
        for part in range(parts):
            yield from _decode(self._objects.read(self._places.index(round, part)))
