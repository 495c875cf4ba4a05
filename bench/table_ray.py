"""The same with Ray Data, for an interpreter that has `ray[data]` and onnxruntime: read, `map_batches`, written.

PYTHON bench/table_ray.py MODEL.onnx TABLE OUTPUT --batch N

prints the seconds from reading to the written files as JSON; starting Ray is not among them.
"""

import argparse
import json
import time
from typing import Any

import numpy as np
import ray


class Network:
    def __init__(self, file: str) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        rows = np.stack(batch["x"]).astype(np.float32, copy=False)
        return {"custom_id": batch["custom_id"], "y": self.session.run(["y"], {"x": rows})[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("table")
    parser.add_argument("output")
    parser.add_argument("--batch", type=int, default=4096)
    asked = parser.parse_args()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    began = time.perf_counter()
    scored = ray.data.read_parquet(asked.table).map_batches(
        Network, fn_constructor_args=[asked.model], batch_size=asked.batch, concurrency=2
    )
    scored.write_parquet(asked.output)
    print(json.dumps({"seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
