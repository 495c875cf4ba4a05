"""A tour of a running farm: a page is read, sentences are compared, a digit is recognized.

The farm is the one at PENSTOCK_URL (http://127.0.0.1:8080 without it). Ends with 1 where a job fails.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from penstock import Job, Penstock, PenstockError, Unreachable
from rich.console import Console
from rich.table import Table

DATA = Path(__file__).parent / "data"
#: How often a job that has not ended is looked at, so that its running can be seen.
GLANCE_S = 0.1
COLOURS = {"queued": "yellow", "running": "cyan", "succeeded": "green"}

console = Console(highlight=False)


def main() -> int:
    try:
        with Penstock(retry_for_s=3) as client:
            read_a_page(client)
            compare_sentences(client)
            recognize_a_digit(client)
            what_next(client.url)
    except Unreachable as error:
        console.print(f"\n[bold red]The demo needs a farm:[/] {error.detail}; `make run` starts one", soft_wrap=True)
        return 1
    except PenstockError as error:
        console.print(f"\n[bold red]The demo stopped:[/] {error.detail} ({error.code})", soft_wrap=True)
        return 1
    return 0


def read_a_page(client: Penstock) -> None:
    title("ocr", "reads the text of a picture", "examples/data/invoice.png")
    outputs = collect(client, client.jobs.submit("ocr", {"image": DATA / "invoice.png"}))
    (page,) = outputs["lines"]
    table = Table("text", "confidence", "box", box=None, header_style="bold")
    for line in json.loads(page) if isinstance(page, str) else page:
        table.add_row(line["text"], f"{line['confidence']:.3f}", corners(line["box"]))
    console.print(table)


def compare_sentences(client: Penstock) -> None:
    title("minilm", "says how alike sentences are", "examples/data/sentences.txt, a job each: the worker batches them")
    sentences = (DATA / "sentences.txt").read_text().splitlines()
    jobs = [client.jobs.submit("minilm", {"text": [sentence]}) for sentence in sentences]
    vectors = [collect(client, job)["embedding"][0] for job in jobs]
    names = [str(number) for number, _ in enumerate(sentences, 1)]
    table = Table("", *names, "", box=None, header_style="bold")
    for name, sentence, vector in zip(names, sentences, vectors, strict=True):
        table.add_row(f"[bold]{name}[/]", *(shade(cosine(vector, other)) for other in vectors), sentence)
    console.print(table)


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
    tell(job, "queued", f"job {job.id}")
    told_running = False
    while not job.done:
        job = client.jobs.get(job, wait_s=GLANCE_S)
        if job.status == "running" and not told_running:
            told_running = tell_running(job)
    if job.started_at and not told_running:
        tell_running(job)
    job.raise_for_failure()
    tell(job, "succeeded", f"queue {job.metrics.queue_ms:g} ms, compute {job.metrics.compute_ms:g} ms")
    return client.jobs.result(job) if job.outputs is None else job.outputs


def tell_running(job: Job) -> bool:
    """Tell it once the job object knows the batch; True then."""
    if job.metrics.batch_size:
        tell(job, "running", f"on {job.metrics.device}, in a batch of {job.metrics.batch_size}")
    return bool(job.metrics.batch_size)


def tell(job: Job, status: str, words: str) -> None:
    moment = {"queued": job.created_at, "running": job.started_at, "succeeded": job.completed_at}[status]
    passed = (moment - job.created_at).total_seconds() * 1000 if moment and job.created_at else 0.0
    console.print(f"  [dim]{passed:6.0f} ms[/]  [{COLOURS[status]}]{status:<9}[/]  {words}")


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


def what_next(url: str) -> None:
    penstock = "penstock" if shutil.which("penstock") else ".venv/bin/penstock"
    console.print("\n[bold]Try next[/]")
    for command in (
        f"curl {url}/v1/models",
        f"curl -H 'Prefer: wait=30' -F model=ocr -F image=@examples/data/invoice.png {url}/v1/jobs",
        f"{penstock} submit minilm -i text='a sentence of yours' --wait",
        f"{penstock} submit ocr -i image=@examples/data/invoice.png --wait --json",
        f"{penstock} jobs",
    ):
        console.print(f"  {command}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
