"""A pipeline's steps as a graph: what each needs, and which can run now. Pure and light: the gateway imports this.

Values have names, `inputs.<name>` or `<step>.<output>`. A step runs once everything it names is known; steps that
need nothing of each other run side by side.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from models.manifest import PIPELINE, Manifest, SourceNames, Step

#: The step name that stands for the pipeline's own inputs.
INPUTS = "inputs"
STEP_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

Complaint = tuple[str, str]


class Source(NamedTuple):
    """Where a value comes from: a step, or INPUTS, and the name it has there."""

    step: str
    name: str

    def __str__(self) -> str:
        return f"{self.step}.{self.name}"


def parse(text: str) -> Source:
    """`step.output`; an output's name may hold dots. Raises ValueError."""
    step, dot, name = text.partition(".")
    if not (step and dot and name):
        raise ValueError(f"{text!r} must be `{INPUTS}.<name>` or `<step>.<output>`")
    return Source(step, name)


def sources(names: SourceNames) -> tuple[Source, ...]:
    return tuple(parse(name) for name in ([names] if isinstance(names, str) else names))


def named(step: Step) -> Iterator[tuple[str, str]]:
    """Every source that a step names, after the key it stands under."""
    for name, given in step.inputs.items():
        for text in [given] if isinstance(given, str) else given:
            yield f"inputs.{name}", text
    for key, text in (("for_each", step.for_each), ("when", step.when), ("unless", step.unless)):
        if text:
            yield key, text


def needs(step: Step) -> set[str]:
    """The steps whose outputs this one takes."""
    return {parse(text).step for _, text in named(step)} - {INPUTS}


def advance(steps: Sequence[Step], *, started: Collection[str], ended: Collection[str]) -> list[Step]:
    """The steps to start now, in the manifest's order."""
    return [step for step in steps if step.name not in started and needs(step) <= set(ended)]


def ordered(steps: Sequence[Step]) -> tuple[list[Step], list[Step]]:
    """The steps, each after those it needs; and those that can never run, since they need each other."""
    order: list[Step] = []
    while found := advance(steps, started=(names := [step.name for step in order]), ended=names):
        order += found
    return order, [step for step in steps if step not in order]


def complaints(manifest: Manifest) -> list[Complaint]:
    """What is wrong with the steps by themselves, as pairs of key and reason; `models.composing` sees their models."""
    if manifest.kind == "model":
        return [(key, "is for `kind: pipeline` only") for key in ("steps", "results") if getattr(manifest, key)]
    found: list[Complaint] = []
    if manifest.runtime != PIPELINE:
        found.append(("runtime", f"{manifest.runtime!r} is for models; a pipeline has none"))
    if manifest.instances > 1:
        found.append(("instances", "a pipeline has one process in each worker; give its models more"))
    if not manifest.rowed:
        found.append(("inputs", "a pipeline's shapes must all begin with -1, the row axis"))
    if not manifest.steps:
        found.append(("steps", "missing; a pipeline needs at least one"))
    return found or name_complaints(manifest) or reference_complaints(manifest)


def name_complaints(manifest: Manifest) -> list[Complaint]:
    found: list[Complaint] = []
    names = [step.name for step in manifest.steps]
    for index, step in enumerate(manifest.steps):
        key = f"steps[{index}].name"
        if not STEP_NAME.fullmatch(step.name):
            found.append((key, f"{step.name!r} must match {STEP_NAME.pattern}"))
        elif step.name == INPUTS:
            found.append((key, f"{INPUTS!r} stands for the pipeline's inputs"))
        elif step.name in names[:index]:
            found.append((key, f"{step.name!r} is declared twice"))
    return found


def reference_complaints(manifest: Manifest) -> list[Complaint]:
    found: list[Complaint] = []
    texts = [(f"steps[{i}].{key}", text) for i, step in enumerate(manifest.steps) for key, text in named(step)]
    for name, given in manifest.results.items():
        texts += [(f"results.{name}", text) for text in ([given] if isinstance(given, str) else given)]
    known = {INPUTS, *(step.name for step in manifest.steps)}
    for key, text in texts:
        try:
            step = parse(text).step
        except ValueError as error:
            found.append((key, str(error)))
            continue
        if step not in known:
            found.append((key, f"{text!r} names no step; there are {', '.join(sorted(known))}"))
    if found:
        return found
    if circle := ordered(manifest.steps)[1]:
        return [("steps", f"{', '.join(step.name for step in circle)} wait for each other: a circle")]
    used = {parse(text).step for _, text in texts}
    return [
        (f"steps[{index}]", f"nothing uses an output of {step.name!r}")
        for index, step in enumerate(manifest.steps)
        if step.name not in used
    ]
