"""The jobs that are measured: what a client sends, what must come back, and how a body holds many of them.

A workload is made once, into a file that the load generators read: the inputs as JSON, and for each the numbers that
the model gives in process. An answer that differs is an error, not a figure.
"""

import base64
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.models import PICTURE
from models.arrays import Batch, decode
from models.catalog import Catalog
from models.loading import load
from models.running import Call

SEED = 16
WIDTH = 16
#: Of a sentence, words; about a quarter more tokens.
SHORTEST, LONGEST = 14, 22
VOCABULARY = (
    "the order was shipped late because a valve at the northern plant failed during its yearly inspection and our "
    "customer asks for an invoice with corrected prices before the end of this month please call them about contract "
    "terms delivery dates water pressure turbine maintenance budget report insurance claim payment account team"
)


@dataclass(frozen=True)
class Workload:
    """One model, and how it is driven."""

    name: str
    #: Name of the one input and of the one output.
    input: str
    output: str
    #: Largest difference between an answer and what the model gives in process: batches round differently.
    tolerance: float
    #: Jobs in one body of `jobs:batch`.
    per_body: int
    #: Such bodies in one burst, which is timed until all is accepted and until all is done.
    bodies: int
    #: Numbers of clients that share a burst.
    batch_clients: tuple[int, ...]
    #: Rows in one call that are tried in process.
    batches: tuple[int, ...]
    #: Whether the farm runs the model the way that is best in process, or as it is shipped.
    tuned: bool
    #: Seconds of load before a measurement counts, and of the measurement.
    ramp_s: float
    seconds: float


WORKLOADS = {
    "echo": Workload("echo", "x", "y", 0.0, 200, 64, (1, 16, 64), (1, 16, 64, 256), False, 0.5, 2.5),
    "minilm": Workload("minilm", "text", "embedding", 1e-3, 32, 16, (1,), (1, 2, 4, 8, 16), True, 0.7, 3.0),
    "cnn": Workload("cnn", "image", "logits", 0.05, 16, 8, (1,), (1, 2, 4, 8), True, 1.2, 3.5),
    "pixels": Workload("pixels", "image", "logits", 0.05, 16, 8, (1,), (1, 2, 4, 8), True, 1.2, 3.5),
}
#: What is measured unless asked otherwise.
USUAL = ("echo", "minilm", "cnn")


def rows() -> list[Any]:
    """Rows of sixteen numbers."""
    random = np.random.default_rng(SEED)
    return [[row.tolist()] for row in random.integers(-64, 64, (16, WIDTH)).astype(np.float32) / 4]


def sentences() -> list[Any]:
    random = np.random.default_rng(SEED)
    words = VOCABULARY.split()
    lengths = random.integers(SHORTEST, LONGEST + 1, 64)
    return [[" ".join(random.choice(words, length)) + "."] for length in lengths]


def drawn() -> Iterator[Image.Image]:
    """Pictures of soft blots with some noise: their JPEGs are as long as photographs' are, about 23 kB."""
    random = np.random.default_rng(SEED)
    for _ in range(16):
        blots = Image.fromarray(random.integers(0, 256, (28, 28, 3), dtype=np.uint8))
        soft = np.asarray(blots.resize(PICTURE[:2], Image.Resampling.BICUBIC), dtype=np.float32)
        yield Image.fromarray(np.clip(soft + random.normal(0, 8, PICTURE), 0, 255).astype(np.uint8))


def jpegs() -> list[Any]:
    """Files, as whoever has a picture has it."""
    files = []
    for picture in drawn():
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=90)
        files.append([{"b64": base64.b64encode(file.getvalue()).decode()}])
    return files


def pixels() -> list[Any]:
    """What they decode to: 150 kB each, and so beyond what travels inside of a message."""
    return [{"b64": base64.b64encode(one.tobytes()).decode(), "shape": [1, *PICTURE]} for one in drawn()]


VALUES: dict[str, Callable[[], list[Any]]] = {"echo": rows, "minilm": sentences, "cnn": jpegs, "pixels": pixels}


def batches(workload: Workload, models: Path) -> list[Batch]:
    """Each job's inputs as the model's rows."""
    manifest = Catalog.load(models).get(workload.name).manifest
    values = VALUES[workload.name]()
    return [decode(manifest, {workload.input: value}, no_object) for value in values]


def rows_of(workload: Workload, models: Path) -> list[Any]:
    """The same as single rows, as a library takes them."""
    return [batch[workload.input][0] for batch in batches(workload, models)]


def prepare(workload: Workload, models: Path, file: Path) -> Path:
    """Write what the load generators read: inputs, and the model's own answers to them."""
    model = load(Catalog.load(models).get(workload.name), "cpu")
    expected = [answer(model.run([Call(batch)])[0], workload.output) for batch in batches(workload, models)]
    content = {
        **asdict(workload),
        "inputs": [{workload.input: value} for value in VALUES[workload.name]()],
        "expected": expected,
    }
    file.write_text(json.dumps(content, separators=(",", ":")))
    return file


def answer(outcome: Batch | Exception, output: str) -> list[float]:
    if isinstance(outcome, Exception):
        raise outcome
    numbers: list[float] = np.asarray(outcome[output], dtype=np.float64).ravel().tolist()
    return numbers


def no_object(key: str) -> bytes:
    raise KeyError(key)
