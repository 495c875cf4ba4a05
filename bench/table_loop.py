"""A table scored in process: read whole, run in a loop, written whole. The best that the machine can do by hand.

python -m bench.table_loop mlp|minilm MODELS TABLE OUTPUT --batch N --threads T [--processes P]

prints the seconds that it took from reading to the written file as JSON; loading the libraries and the model is not
among them. Sentences are sorted by length first, so that little is padded. With several processes each has a part of
the rows, and writes a part of the output.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
COLUMNS = {"mlp": ("x", "y"), "minilm": ("text", "embedding")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=COLUMNS)
    parser.add_argument("models", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    asked = parser.parse_args()
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(asked.threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(asked.processes + 1)
    parts = [
        context.Process(target=score, args=(vars(asked), number, ready), daemon=True)
        for number in range(asked.processes)
    ]
    for part in parts:
        part.start()
    ready.wait(120)
    began = time.perf_counter()
    for part in parts:
        part.join()
    print(json.dumps({"seconds": time.perf_counter() - began}))
    return max(part.exitcode or 0 for part in parts)


def score(asked: dict[str, Any], number: int, ready: Barrier) -> None:
    """One process' rows, from the file to a file."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    predict = PREDICTORS[asked["model"]](asked["models"] / asked["model"] / "1", asked["threads"])
    name, made = COLUMNS[asked["model"]]
    ready.wait(120)
    table = pq.read_table(asked["table"])
    share = -(-table.num_rows // asked["processes"])
    table = table.slice(number * share, share)
    column = table.column(name).combine_chunks()
    outputs = predict(column, asked["batch"])
    values = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(outputs).reshape(-1)), outputs.shape[1])
    file = asked["output"].with_suffix(f".{number}.parquet") if asked["processes"] > 1 else asked["output"]
    kept = table.drop_columns([name])
    pq.write_table(kept.append_column(made, values), file)


def mlp(folder: Path, threads: int) -> Any:
    import numpy as np

    from bench.plain.models import session

    network = session(folder, threads)

    def predict(column: Any, batch: int) -> Any:
        rows = column.flatten().to_numpy().reshape(len(column), -1)
        return np.concatenate(
            [network.run(["y"], {"x": rows[at : at + batch]})[0] for at in range(0, len(rows), batch)]
        )

    return predict


def minilm(folder: Path, threads: int) -> Any:
    import numpy as np

    from bench.plain.models import MiniLM

    model = MiniLM(folder, threads)

    def predict(column: Any, batch: int) -> Any:
        texts = column.to_pylist()
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        outputs: Any = None
        for at in range(0, len(order), batch):
            places = order[at : at + batch]
            found = model.predict([texts[place] for place in places])
            if outputs is None:
                outputs = np.empty((len(texts), found.shape[1]), found.dtype)
            outputs[places] = found
        return outputs

    return predict


PREDICTORS = {"mlp": mlp, "minilm": minilm}

if __name__ == "__main__":
    sys.exit(main())
