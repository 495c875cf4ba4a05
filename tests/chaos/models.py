"""The models of the chaos farm: each answers every text with that text's own digest, and notes what it runs.

A text says what happens: `<verb>:<anything unique>`, the verbs being ways in which real models go wrong.
"""

from pathlib import Path

#: Model name -> jobs in a batch, seconds that a batch takes, seconds that a job may take.
MODELS = {
    "quick": (64, 0.0, 60),
    "slow": (8, 0.15, 60),
    "poison": (32, 0.02, 12),
    "moody": (16, 0.0, 60),
}
#: Executors of a model where it has more than one: what follows poison is run one by one.
INSTANCES = {"poison": 2}
#: Resident memory an executor may have, and what `oom` takes at once, MiB.
MEMORY_MB, TAKEN_MB = 200, 400

MANIFEST = """\
name: {name}
runtime: python
inputs: [{{name: text, datatype: BYTES, shape: [-1]}}]
outputs: [{{name: said, datatype: BYTES, shape: [-1]}}]
instances: {instances}
batching: {{max_items: {items}}}
limits: {{timeout_s: {timeout_s}, memory_mb: {memory_mb}, queue: 5000}}
"""

HANDLER = """\
import os, pathlib, signal, sys, time, uuid

BOOK = pathlib.Path({book!r})
PAUSE_S = {pause_s}
sys.path.insert(0, {root!r})
from tests.chaos.reference import answer, digest

class Model:
    def load(self, device):
        self.kept = []

    def predict(self, batch):
        texts = list(batch["text"])
        note(texts)
        if PAUSE_S:
            time.sleep(PAUSE_S)
        for text in texts:
            misbehave(self, text, alone=len(texts) == 1)
        return {{"said": [answer(text) for text in texts]}}

def note(texts):
    # One write: what the kernel has taken outlives this process.
    batch = uuid.uuid4().hex[:12]
    with open(BOOK / str(os.getpid()), "ab", buffering=0) as book:
        book.write("".join(f"{{batch}} {{len(texts)}} {{digest(text)}}\\n" for text in texts).encode())

def misbehave(model, text, alone):
    verb, _, rest = text.partition(":")
    if verb == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif verb == "hang":
        time.sleep(3600)
    elif verb == "oom":
        model.kept.append(b"x" * ({taken_mb} << 20))
        time.sleep(3600)
    elif verb == "bad":
        raise ValueError("asked to")
    elif verb == "flaky":
        # A batch that raises is run again one by one: the job fails once it was run so.
        mark = BOOK / ("mark-" + digest(text))
        if not mark.exists():
            if alone:
                mark.touch()
            raise RuntimeError("the first time")
"""


def build(folder: Path, book: Path) -> Path:
    """Write the repository into `folder`; executors append what they run to files in `book`."""
    book.mkdir(parents=True, exist_ok=True)
    root = str(Path(__file__).resolve().parents[2])
    for name, (items, pause_s, timeout_s) in MODELS.items():
        (folder / name / "1").mkdir(parents=True)
        text = MANIFEST.format(
            name=name, instances=INSTANCES.get(name, 1), items=items, timeout_s=timeout_s, memory_mb=MEMORY_MB
        )
        (folder / name / "model.yaml").write_text(text)
        code = HANDLER.format(book=str(book), pause_s=pause_s, root=root, taken_mb=TAKEN_MB)
        (folder / name / "handler.py").write_text(code)
    return folder
