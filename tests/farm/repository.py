"""The models that the farm's tests run: quick, and one that does every bad thing a model can do."""

from pathlib import Path

ECHO = """\
name: echo
runtime: python
inputs: [{name: x, datatype: FP32, shape: [-1, 16]}]
outputs: [{name: y, datatype: FP32, shape: [-1, 16]}]
batching: {max_items: 64}
example: {x: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]}
"""

ECHO_HANDLER = """\
class Model:
    def load(self, device):
        pass

    def predict(self, batch):
        return {"y": batch["x"]}
"""

TROUBLE = """\
name: trouble
runtime: python
inputs: [{name: do, datatype: BYTES, shape: [-1]}]
outputs: [{name: did, datatype: BYTES, shape: [-1]}]
batching: {max_items: 8}
limits: {timeout_s: 20, memory_mb: 400}
"""

#: `do` says what happens: each word is one way in which real models go wrong.
TROUBLE_HANDLER = """\
import os, pathlib, signal, time
from errors import InvalidInput

class Model:
    def load(self, device):
        self.kept = []
        if (pathlib.Path(__file__).parents[1] / ".unloadable").exists():
            raise RuntimeError("cannot be loaded now")

    def predict(self, batch):
        words = list(batch["do"])
        for word in words:
            verb, _, rest = word.partition(" ")
            if verb == "raise":
                raise ValueError("asked to")
            if verb == "shape":
                return {"did": words + ["one too many"]}
            if verb == "hang":
                time.sleep(3600)
            if verb == "die":
                os.kill(os.getpid(), signal.SIGSEGV)
            if verb == "keep":  # so many MiB, for ever
                self.kept.append(b"x" * (int(rest) << 20))
            if verb == "sleep":
                time.sleep(float(rest))
            if verb == "once":  # fails the first time, by a mark left in a file
                mark = pathlib.Path(rest)
                if not mark.exists():
                    mark.touch()
                    raise RuntimeError("the first time")
            if verb == "need" and not pathlib.Path(rest).exists():
                raise ValueError("it is not there")
            if verb == "count":  # notes each run, so that a test can see how often there was one
                with open(rest, "a") as book:
                    book.write("x")
            if verb == "hold":  # as `wait`, and says so
                with open(rest + ".began", "a") as book:
                    book.write("x")
            if verb in ("wait", "hold"):  # until a file is there, so that a test decides when
                while not pathlib.Path(rest).exists():
                    time.sleep(0.005)
        special = {"invalid": InvalidInput("no such thing"), "big": "x" * 100_000, "company": "|".join(words)}
        return {"did": [special.get(word, word) for word in words]}
"""

PICTURE = """\
name: picture
runtime: python
inputs: [{name: image, datatype: BYTES, shape: [-1]}]
outputs: [{name: size, datatype: INT64, shape: [-1, 2]}]
batching: {max_items: 8}
"""

PICTURE_HANDLER = """\
import io
import numpy as np
from PIL import Image
from errors import InvalidInput

def opened(data):
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return picture.size
    except Exception as error:
        raise InvalidInput(f"the image cannot be read: {error}") from error

class Handler:
    def preprocess(self, inputs, parameters):
        return {"image": np.array([opened(data) for data in inputs["image"]], dtype=np.int64)}

class Model:
    def load(self, device):
        pass

    def predict(self, batch):
        return {"size": batch["image"]}
"""

WORDS = """\
name: words
runtime: python
inputs: [{name: text, datatype: BYTES, shape: [-1]}]
outputs: [{name: words, datatype: BYTES, shape: [-1, -1]}, {name: wanted, datatype: BOOL, shape: [-1, -1]}]
"""

WORDS_HANDLER = """\
class Model:
    def load(self, device):
        pass

    def predict(self, batch):
        rows = [text.split(";") for text in batch["text"]]
        return {"words": rows, "wanted": [[not word.startswith("skip") for word in words] for words in rows]}
"""

#: In series and side by side: the text's words, each run by `trouble`; and two runs more, one after the other.
PHRASES = """\
name: phrases
kind: pipeline
inputs: [{name: text, datatype: BYTES, shape: [-1]}, {name: aside, datatype: BYTES, shape: [-1]}]
outputs: [{name: did, datatype: BYTES, shape: [-1, -1]}, {name: last, datatype: BYTES, shape: [-1]}]
limits: {timeout_s: 30}
steps:
  - {name: split, model: words, inputs: {text: inputs.text}}
  - name: each
    model: trouble
    inputs: {do: split.words}
    for_each: split.words
    when: split.wanted
    otherwise: {did: skipped}
  - {name: aside, model: trouble, inputs: {do: inputs.aside}}
  - {name: last, model: trouble, version: 1, inputs: {do: aside.did}}
results: {did: each.did, last: last.did}
"""

BROKEN = """\
name: broken
runtime: python
inputs: [{name: x, datatype: FLOAT, shape: [-1]}]
outputs: [{name: y, datatype: FP32, shape: [-1]}]
"""


def build(folder: Path, *names: str) -> Path:
    """Write the repository, or the models named, into `folder`.

    One of its manifests is broken, and the others must serve all the same.
    """
    for name, manifest, handler in (
        ("echo", ECHO, ECHO_HANDLER),
        ("trouble", TROUBLE, TROUBLE_HANDLER),
        ("picture", PICTURE, PICTURE_HANDLER),
        ("words", WORDS, WORDS_HANDLER),
        ("phrases", PHRASES, ""),
        ("broken", BROKEN, ""),
    ):
        if names and name not in names:
            continue
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "model.yaml").write_text(manifest)
        if handler:
            (folder / name / "handler.py").write_text(handler)
    return folder
