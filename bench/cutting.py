"""What cutting a table into shards and merging their outputs costs, without a farm: seconds and memory.

`python -m bench.cutting` prints, for a Parquet file of rows x 64 FP32 and one five times as long, what each step takes
and the process's peak. The model in between copies 16 of the 64 numbers.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from bench.peaks import high_water
from bench.tables import numbers
from models import columns
from models.arrays import Batch
from models.manifest import Tensor
from settings import Settings
from storage.inputs import uploaded
from storage.objects import Objects, open_objects
from storage.scoring import Spec
from tasks.scoring.cutting import cuts, look, put_rows
from tasks.scoring.merging import merge
from tasks.scoring.sources import Source, open_source

X, Y = Tensor("x", "FP32", (-1, 64)), Tensor("y", "FP32", (-1, 16))
SHARD_ROWS = 16_384
FOLDER = "acme/scorings/scr_1"


def timed(name: str, work: Callable[[], object]) -> None:
    start, cpu = time.perf_counter(), time.process_time()
    work()
    peak = high_water(os.getpid()) / 2**20
    took = f"{time.perf_counter() - start:6.2f} s {time.process_time() - cpu:6.2f} s CPU"
    print(f"  {name:24} {took}   peak {peak:4.0f} MiB", flush=True)


def measure(folder: Path) -> None:
    """In a process of its own: a peak is the process's, from its start."""
    objects = open_objects(f"file://{folder}")
    spec = Spec(
        id="scr_1", tenant="acme", model="copy", version="1", input=(uploaded(objects, "acme/objects/in"),),
        format="parquet", output_format="", inputs=msgspec.Raw(msgspec.json.encode([X])),
        outputs=msgspec.Raw(msgspec.json.encode([Y])), max_items=256, created_ms=0,
    )  # fmt: skip
    source = open_source(spec, objects, Settings())
    keys: list[str] = []
    timed("look", lambda: look(spec, source))
    timed("read, cut, write rows", partial(cut, spec, source, objects, keys))
    timed("copy, write outputs", lambda: copy(objects, keys))
    outputs = [key.replace("/in/", "/out/") for key in keys]
    for format in ("parquet", "jsonl", "csv"):
        asked = msgspec.structs.replace(spec, output_format=format)
        timed(f"merge into {format}", partial(merge, asked, objects, [outputs], "acme/output", told))


def cut(spec: Spec, source: Source, objects: Objects, keys: list[str]) -> None:
    for number, shard in enumerate(cuts(spec, source, shard_rows=SHARD_ROWS)):
        keys.append(f"{FOLDER}/in/{number:08}.arrow")
        put_rows(objects, keys[-1], shard.rows)


def copy(objects: Objects, keys: list[str]) -> None:
    for key in keys:
        table = columns.read_file(objects.read(key))
        decoded = columns.decode([X], table, lambda key: b"")
        outputs: Batch = {"y": np.asarray(decoded.batch["x"])[:, :16]}
        pieces: list[bytes] = []
        columns.write_file([columns.output_table([Y], table, decoded.kept, outputs)], pieces.append)
        objects.put(key.replace("/in/", "/out/"), pieces)


def told(rows: int) -> None:
    """Nobody waits for it here."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        measure(asked.measure)
        return
    for rows in (asked.rows, 5 * asked.rows):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "acme" / "objects" / "in"
            file.parent.mkdir(parents=True)
            numbers(file, rows)
            print(f"{rows} rows, {file.stat().st_size / 2**20:.0f} MiB", flush=True)
            subprocess.run([sys.executable, "-m", "bench.cutting", "--measure", folder], check=True)


if __name__ == "__main__":
    main()
