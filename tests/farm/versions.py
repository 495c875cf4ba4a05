"""A model whose versions come and go while jobs pour in, and the load that watches every single job."""

import threading
import time
from pathlib import Path

from penstock import Job, Submission

from tests.farm.harness import Farm, submit_all

NAME = "greet"

MANIFEST = """\
name: greet
runtime: python
inputs: [{name: who, datatype: BYTES, shape: [-1]}]
outputs: [{name: said, datatype: BYTES, shape: [-1]}]
batching: {max_items: 16}
limits: {timeout_s: 20}
example: {who: nobody}
"""

#: Notes each run in a file, so that a test can see that there was one.
HANDLER = """\
import pathlib

BOOK = pathlib.Path(__file__).parents[1] / ".book"

class Model:
    def load(self, device):
        pass

    def predict(self, batch):
        with BOOK.open("a") as book:
            book.write("".join(f"{who}\\n" for who in batch["who"]))
        return {"said": [f"VERSION {who}" for who in batch["who"]]}
"""

BROKEN = """\
class Model:
    def load(self, device):
        pass

    def predict(self, batch):
        raise RuntimeError("the weights do not fit")
"""

#: Between two submissions of the load, seconds, and how many jobs each has.
PAUSE_S, GROUP = 0.02, 8


def publish(repository: Path, version: str, handler: str = HANDLER) -> None:
    """Write a version aside and rename it into place; the first brings the model with it."""
    folder = repository / NAME
    if not folder.exists():
        aside = repository / f".{NAME}"
        aside.mkdir()
        (aside / "model.yaml").write_text(MANIFEST)
        aside.rename(folder)
    aside = folder / f".{version}"
    aside.mkdir()
    (aside / "handler.py").write_text(handler.replace("VERSION", version))
    aside.rename(folder / version)


class Load:
    """Submits without a pause worth the name, until it is stopped; asks for no version."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self.jobs: list[tuple[str, Job]] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with self._farm.client() as client:
                while not self._stopping.is_set():
                    names = [f"job-{len(self.jobs) + n}" for n in range(GROUP)]
                    accepted = submit_all(client, [Submission(model=NAME, inputs={"who": name}) for name in names])
                    self.jobs += zip(names, accepted, strict=True)
                    # Not a wait for something: the pace of the load.
                    time.sleep(PAUSE_S)
        # Told by `check`, in the test's own thread.
        except BaseException as error:  # noqa: BLE001
            self._failure = error

    def count(self, version: str) -> int:
        """Jobs accepted so far for a version."""
        return sum(job.version == version for _, job in list(self.jobs))

    def check(self, repository: Path) -> dict[str, int]:
        """Every job succeeded once, in the version it was pinned to; jobs by version."""
        assert self._failure is None
        with self._farm.client() as client:
            for name, job in self.jobs:
                ended = client.jobs.get(job.id, wait_s=60)
                assert ended.status == "succeeded", (ended, ended.error)
                assert (ended.version, ended.attempt, ended.worker_losses) == (job.version, 1, 0)
                assert ended.outputs == {"said": [f"{job.version} {name}"]}
        book = (repository / NAME / ".book").read_text().split()
        assert sorted(line for line in book if line != "nobody") == sorted(name for name, _ in self.jobs)
        return {version: self.count(version) for version in {job.version or "" for _, job in self.jobs}}
