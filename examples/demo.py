"""A tour of a running farm: a page is read, sentences are compared, a digit is recognized.

The farm is the one at PENSTOCK_URL (http://127.0.0.1:8080 without it). Ends with 1 where a job fails.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from penstock import Job, Penstock, PenstockError, StillRunning, Unreachable
from rich.console import Console
from rich.table import Table

DATA = Path(__file__).parent / "data"
#: How often a job that has not ended is looked at, so that its running can be seen.
GLANCE_S = 0.1
#: No job of this tour should take so long, loading its model included.
PATIENCE_S = 60.0
COLOURS = {"queued": "yellow", "running": "cyan", "succeeded": "green", "completed": "green"}

#: Where the `penstock` command looks unless told otherwise.
DEFAULT_URL = "http://127.0.0.1:8080"

console = Console(highlight=False)


def main() -> int:
    try:
        with Penstock(retry_for_s=3) as client:
            page = read_a_page(client)
            compare_sentences(client)
            score_a_table(client)
            recognize_a_digit(client)
            what_next(client.url, page)
    except Unreachable as error:
        console.print(f"\n[bold red]The demo needs a farm:[/] {error.detail}; `make run` starts one", soft_wrap=True)
        return 1
    except PenstockError as error:
        console.print(f"\n[bold red]The demo stopped:[/] {error.detail} ({error.code})", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print()
        return 130
    return 0


def read_a_page(client: Penstock) -> Job:
    title("ocr", "reads the text of a picture", "examples/data/invoice.png")
    job = client.jobs.submit("ocr", {"image": DATA / "invoice.png"}, priority="high")
    (page,) = collect(client, job)["lines"]
    table = Table("text", "confidence", "box", box=None, header_style="bold")
    for line in json.loads(page) if isinstance(page, str) else page:
        table.add_row(line["text"], f"{line['confidence']:.3f}", corners(line["box"]))
    console.print(table)
    return job


def compare_sentences(client: Penstock) -> None:
    title("minilm", "says how alike sentences are", "a job each; the worker batches them")
    sentences = (DATA / "sentences.txt").read_text().splitlines()
    submitted = client.jobs.submit_many([{"model": "minilm", "inputs": {"text": [one]}} for one in sentences])
    vectors = [collect(client, accepted(job))["embedding"][0] for job in submitted]
    table = Table("", *(str(number + 1) for number in range(len(sentences))), box=None, header_style="bold")
    for number, vector in enumerate(vectors, 1):
        table.add_row(f"[bold]{number}[/]", *(shade(cosine(vector, other)) for other in vectors))
    for number, sentence in enumerate(sentences, 1):
        console.print(f"  [bold]{number}[/] {sentence}")
    console.print(table)


def score_a_table(client: Penstock) -> None:
    title("minilm", "embeds a table, offline", "examples/data/tickets.csv")
    with TemporaryDirectory() as folder:
        output = Path(folder) / "vectors.jsonl"
        done = client.scorings.score("minilm", DATA / "tickets.csv", output, keep=["text"])
        first, *others = [json.loads(line) for line in output.read_text().splitlines()]
    took_s = (done.completed_at - done.created_at).total_seconds() if done.completed_at and done.created_at else 0.0
    console.print(f"  {done.id}  {coloured(done.status)}: {done.rows.done} rows in {took_s:.1f} s", soft_wrap=True)
    near = max(others, key=lambda row: cosine(first["embedding"], row["embedding"]))
    for row in (first, near):
        console.print(f"  {row['custom_id']}  {row['text']}", soft_wrap=True)
    console.print(f"  no ticket is more like the first one: {cosine(first['embedding'], near['embedding']):.2f}")


def accepted(outcome: Job | PenstockError) -> Job:
    if isinstance(outcome, PenstockError):
        raise outcome
    return outcome


def recognize_a_digit(client: Penstock) -> None:
    title("digits", "says which digit a picture shows", "examples/data/digit.png")
    outputs = collect(client, client.jobs.submit("digits", {"image": DATA / "digit.png"}))
    (label,), (probabilities,) = outputs["label"], outputs["probabilities"]
    for digit, probability in enumerate(probabilities):
        line = f"  {digit}  {probability:6.1%}  {'█' * round(probability * 40)}"
        console.print(f"[bold green]{line}[/]" if digit == label else line)


def title(model: str, does: str, given: str) -> None:
    console.print(f"\n[bold]{model}[/] {does}  [dim]{given}[/]")


def collect(client: Penstock, job: Job) -> dict[str, Any]:
    """The outputs of a job, after its life has been told as it happens; raises its failure."""
    say(f"  {job.id}  {coloured('queued')}")
    told, until = False, time.monotonic() + PATIENCE_S
    while not job.done:
        job = client.jobs.get(job, wait_s=GLANCE_S)
        told = told or tell_running(job)
        if not job.done and time.monotonic() > until:
            why = f" ({job.waiting_reason.replace('_', ' ')})" if job.waiting_reason else ""
            raise StillRunning(f"{job.id} is {job.status}{why} after {PATIENCE_S:g} s; the farm's log says more")
    told = told or tell_running(job)
    say(f" → {coloured(job.status)}")
    if job.status == "succeeded":
        say(f" (queue {job.metrics.queue_ms:.0f} ms, compute {job.metrics.compute_ms:.0f} ms)")
    say("\n")
    job.raise_for_failure()
    return client.jobs.result(job) if job.outputs is None else job.outputs


def tell_running(job: Job) -> bool:
    """Tell that it runs, or ran, once the job object knows the batch; True then."""
    if job.started_at and job.metrics.batch_size:
        say(f" → {coloured('running')} (batch of {job.metrics.batch_size} on {job.metrics.device})")
        return True
    return False


def coloured(status: str) -> str:
    return f"[{COLOURS.get(status, 'red')}]{status}[/]"


def say(words: str) -> None:
    console.print(words, end="", soft_wrap=True)


def corners(box: Any) -> str:
    """`(left, top)–(right, bottom)` of a box given as its four corners, or as those numbers."""
    points = box if isinstance(box[0], list) else [box[:2], box[2:]]
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    return f"({min(xs):.0f}, {min(ys):.0f})–({max(xs):.0f}, {max(ys):.0f})"


def cosine(one: list[float], other: list[float]) -> float:
    """Of vectors of length 1, as minilm makes them: the dot product."""
    return sum(x * y for x, y in zip(one, other, strict=True))


def shade(similarity: float) -> str:
    colour = "bold green" if similarity > 0.4 else "dim"
    return f"[{colour}]{similarity:5.2f}[/]"


def what_next(url: str, page: Job) -> None:
    penstock = "penstock" if shutil.which("penstock") else ".venv/bin/penstock"
    if port := os.environ.get("DEMO_NEXT_PORT"):
        # `make demo` ends its farm; its jobs are in the farm that `make run` starts next.
        url = f"http://127.0.0.1:{port}"
        console.print("\n[bold]Try next:[/] start the farm with `make run`, then in another terminal")
    else:
        console.print("\n[bold]Try next[/]")
    given = "" if url == DEFAULT_URL else f"--url {url} "
    for command in (
        f"curl {url}/v1/models",
        f"curl -H 'Prefer: wait=30' -F model=ocr -F image=@examples/data/invoice.png {url}/v1/jobs",
        f"{penstock} {given}submit minilm -i text='a sentence of yours' --wait",
        f"{penstock} {given}score minilm examples/data/tickets.csv -o vectors.parquet",
        f"{penstock} {given}submit digits -i image=@examples/data/digit.png --wait --json",
        f"{penstock} {given}get {page.id} --result",
        f"{penstock} {given}jobs",
    ):
        console.print(f"  {command}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
