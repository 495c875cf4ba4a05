"""What a GPU gives in process, and behind Penstock, embedded on the same machine. It needs no server.

python -m bench.gpu [--device cuda] [--only cnn,encoder] [--quick] [--no-keep]

A network of ResNet-18's shape and a sentence encoder of MiniLM's, with random weights: torch at each precision, and
ONNX Runtime where it can use the device. The result goes to
bench/results/gpu-<date>.json, its table into docs/performance.md. `--device cpu` is the same
way without a GPU; `--quick` keeps nothing.
"""

import argparse
import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import gpu_models, gpu_table, machine, page, systems
from bench.gpu_models import Variant
from bench.measuring import output
from bench.processes import ROOT
from bench.progress import say
from bench.repository import change
from errors import LoadError
from models.catalog import Catalog
from models.loading import load
from models.running import Call
from models.runtimes.torch_ import require_gpu

BATCHES = (1, 4, 16, 64, 256)
#: Clients that wait for their job, and rows in a job.
LOADS = ((1, 1), (64, 1), (64, 16))
SECONDS, QUICK_SECONDS = 3.0, 0.5


class Measurement:
    def __init__(self, folder: Path, device: str, *, quick: bool) -> None:
        self.folder = folder
        self.device = device
        self.pool = "gpu" if device == "cuda" else "cpu"
        self.batches = BATCHES[:2] if quick else BATCHES
        self.loads = LOADS[:2] if quick else LOADS
        self.seconds = QUICK_SECONDS if quick else SECONDS

    def run(self, variant: Variant) -> dict[str, Any]:
        """One model: in process at every batch size, then behind Penstock with the best of them."""
        say(f"{variant.name}: in process")
        models = self.folder / variant.name
        gpu_models.build(models, variant, self.pool, max(self.batches))
        found = self.ceiling(variant, models)
        if "skipped" in found:
            say(f"{variant.name}: not measured: {found['skipped']}")
            return found
        best = max(found["calls"], key=lambda call: call["rows_per_s"])
        change(models / variant.name / "model.yaml", batching={"max_items": best["batch"]})
        say(f"{variant.name}: {best['rows_per_s']:.0f} rows/s at {best['batch']}; now behind Penstock")
        return {**found, "best": best, "farm": self.farm(variant, models)}

    def ceiling(self, variant: Variant, models: Path) -> dict[str, Any]:
        command = [
            sys.executable, "-m", "bench.gpu_ceiling", str(models), variant.name, self.device,
            "--batches", ",".join(map(str, self.batches)), "--seconds", str(self.seconds),
        ]  # fmt: skip
        found: dict[str, Any] = json.loads(output(command, f"{variant.name} in process").splitlines()[-1])
        return found

    def farm(self, variant: Variant, models: Path) -> list[dict[str, Any]]:
        system = systems.penstock(self.folder / f"farm-{variant.name}", models, {}, pool=self.pool)
        try:
            return [self.loaded(system, variant, models, clients, rows) for clients, rows in self.loads]
        finally:
            system.stop()

    def loaded(self, system: systems.System, variant: Variant, models: Path, clients: int, rows: int) -> dict[str, Any]:
        """What so many clients see, whose jobs hold so many rows."""
        (outcome,) = load(Catalog.load(models).get(variant.name), self.device).run([Call(variant.shape.rows(rows))])
        if isinstance(outcome, Exception):
            raise outcome
        file = gpu_models.workload(variant, rows, outcome, self.folder / "workload.json")
        command = [
            sys.executable, "-m", "bench.load", "wait", str(file), system.url, "--key", system.key,
            "--clients", str(clients), "--ramp", str(self.seconds), "--seconds", str(self.seconds),
        ]  # fmt: skip
        seen = json.loads(output(command, f"{variant.name} behind Penstock"))
        if "jobs_per_s" not in seen:
            raise systems.StartError(f"{variant.name}: no job ended within {self.seconds:g} s")
        return {"clients": clients, "rows": rows, "rows_per_s": seen["jobs_per_s"] * rows, **seen}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--only", default="", help="networks, separated by commas")
    parser.add_argument("--quick", action="store_true", help="short, and keeps nothing")
    parser.add_argument("--no-keep", action="store_true", help="print the table only")
    asked = parser.parse_args()
    try:
        variants = gpu_models.variants(asked.only.split(",") if asked.only else (), asked.device)
    except ValueError as error:
        parser.error(str(error))
    try:
        if asked.device == "cuda":
            require_gpu(torch.device("cuda:0"))
    except LoadError as error:
        print(error.detail, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="penstock-gpu-") as name:
        measurement = Measurement(Path(name), asked.device, quick=asked.quick)
        try:
            result = described(asked.device) | {"models": [measurement.run(variant) for variant in variants]}
        except systems.StartError as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
    print(gpu_table.table(result))
    if not (asked.quick or asked.no_keep):
        path = page.keep("gpu", result)
        gpu_table.write(result)
        say(f"kept: {path.relative_to(ROOT)}, docs/performance.md")
    return 0


def described(device: str) -> dict[str, Any]:
    gpu = torch.cuda.get_device_properties(0) if device == "cuda" else None
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": f"python -m bench.gpu --device {device}",
        "load_before": round(os.getloadavg()[0], 2),
        "machine": machine.described(),
        "device": gpu.name if gpu else "CPU",
        "device_memory_mb": gpu.total_memory // 2**20 if gpu else None,
        "versions": {"torch": torch.__version__, "cuda": torch.version.cuda, "numpy": np.__version__},
    }


if __name__ == "__main__":
    sys.exit(main())
