"""A model in process on a device: rows in host memory, to outputs in host memory.

python -m bench.gpu_ceiling MODELS NAME DEVICE --batches 1,8 --seconds S

prints one JSON object: rows a second and milliseconds a call for each number of rows, the device's memory, and why
there is nothing where the model cannot be loaded.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bench.gpu_models import SHAPES
from bench.quantiles import quantile
from errors import LoadError
from models.catalog import Catalog
from models.loading import load

WARM_UP_CALLS = 5


def measure(models: Path, name: str, device: str, batches: Sequence[int], seconds: float) -> dict[str, Any]:
    try:
        model = load(Catalog.load(models).get(name), device)
        model.warm_up()
    except LoadError as error:
        return {"model": name, "skipped": error.detail}
    calls = [loop(model.runtime, name, batch, seconds) for batch in batches]
    memory = torch.cuda.max_memory_allocated() / 2**20 if device.startswith("cuda") else None
    return {"model": name, "calls": calls, "torch_memory_mb": memory}


def loop(runtime: Any, name: str, batch: int, seconds: float) -> dict[str, Any]:
    rows = SHAPES[name.split("-")[0]].rows(batch)
    for _ in range(WARM_UP_CALLS):
        runtime.predict(rows)
    took: list[float] = []
    began = now = time.perf_counter()
    while now < began + seconds:
        runtime.predict(rows)
        before, now = now, time.perf_counter()
        took.append(now - before)
    p50_ms = quantile(sorted(took), 0.5) * 1000
    return {"batch": batch, "rows_per_s": len(took) * batch / (now - began), "p50_ms": p50_ms}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("name")
    parser.add_argument("device")
    parser.add_argument("--batches", type=lambda text: [int(word) for word in text.split(",")], default=[1])
    parser.add_argument("--seconds", type=float, default=1.0)
    asked = parser.parse_args()
    print(json.dumps(measure(asked.models, asked.name, asked.device, asked.batches, asked.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
