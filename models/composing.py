"""A pipeline held against the models it runs: every value has a datatype and a shape, and they must fit. Light.

`compose` gives what the executor runs; what is wrong with it are pairs of key and reason, as `models.reading` has them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from errors import Fault
from models import signature
from models.graph import INPUTS, Complaint, Source, ordered, parse, sources
from models.manifest import Manifest, SourceNames, Step, Tensor


class Port(NamedTuple):
    """What is known of a value before anything runs."""

    datatype: str
    shape: tuple[int, ...]
    #: Whether rows or items of it can be absent.
    optional: bool = False
    #: Whether each row is the gathered outputs of that row's items.
    gathered: bool = False


class Wire(NamedTuple):
    """One input of a step."""

    sources: tuple[Source, ...]
    #: Whether an item gets its own part of the row, or the row.
    split: bool


class Node(NamedTuple):
    """A step, ready to run."""

    step: Step
    model: Manifest
    inputs: dict[str, Wire]
    for_each: Source | None = None
    when: Wire | None = None
    unless: Wire | None = None


class Graph(NamedTuple):
    """A pipeline whose steps fit each other; nodes by step name, each after those it needs."""

    nodes: dict[str, Node]
    results: dict[str, tuple[Source, ...]]


def compose(pipeline: Manifest, models: Mapping[str, Manifest], *, handled: bool) -> tuple[Graph, list[Complaint]]:
    """The graph, and what is wrong with it; `models` by step name, `handled` where a handler makes the outputs.

    The manifest itself is in order (`models.graph.complaints`).
    """
    composing = _Composing(pipeline, models)
    for step in ordered(pipeline.steps)[0]:
        composing.add(step, models[step.name], f"steps[{pipeline.steps.index(step)}]")
    results = {name: sources(given) for name, given in pipeline.results.items()}
    composing.check_results(results, handled)
    return Graph(composing.nodes, results), composing.found


class _Composing:
    def __init__(self, pipeline: Manifest, models: Mapping[str, Manifest]) -> None:
        self.pipeline = pipeline
        self.ports = {Source(INPUTS, tensor.name): Port(tensor.datatype, tensor.shape) for tensor in pipeline.inputs}
        self.nodes: dict[str, Node] = {}
        self.found: list[Complaint] = []

    def add(self, step: Step, model: Manifest, key: str) -> None:
        """Check one step whose needs were added, and make its outputs known."""
        self.complain(key, model_complaints(self.pipeline, step, model))
        for_each = parse(step.for_each) if step.for_each else None
        if for_each:
            self.check_items(for_each, f"{key}.for_each")
        inputs = {
            tensor.name: self.wire(step.inputs[tensor.name], tensor, for_each, f"{key}.inputs.{tensor.name}")
            for tensor in model.inputs
            if tensor.name in step.inputs
        }
        flag = Tensor(name="condition", datatype="BOOL", shape=(-1,))
        when = self.wire(step.when, flag, for_each, f"{key}.when") if step.when else None
        unless = self.wire(step.unless, flag, for_each, f"{key}.unless") if step.unless else None
        self.nodes[step.name] = Node(step, model, inputs, for_each, when, unless)
        optional = bool(step.when or step.unless) or any(self.optional(wire.sources) for wire in inputs.values())
        for tensor in model.outputs:
            shape = (-1, -1, *tensor.shape[1:]) if for_each else tensor.shape
            absent = optional and tensor.name not in step.otherwise
            self.ports[Source(step.name, tensor.name)] = Port(tensor.datatype, shape, absent, bool(for_each))

    def check_items(self, source: Source, key: str) -> None:
        port = self.port(source, key)
        if port and port.datatype != "JSON" and len(port.shape) < 2:
            self.complain(key, [("", f"a row of {source} is one {port.datatype}, and no list of items")])

    def wire(self, given: SourceNames, tensor: Tensor, for_each: Source | None, key: str) -> Wire:
        """How an input is fed; what does not fit is complained of."""
        found = sources(given)
        splits = set()
        for source in found:
            port = self.port(source, key)
            if port is None:
                continue
            split = for_each is not None and (source == for_each or len(port.shape) == len(tensor.shape) + 1)
            splits.add(split)
            if reason := misfit(port, split, tensor):
                self.complain(key, [("", f"{source} {reason}")])
        if len(splits) > 1:
            self.complain(key, [("", "some of its sources give a value an item, others a value a row")])
        return Wire(found, True in splits)

    def port(self, source: Source, key: str) -> Port | None:
        port = self.ports.get(source)
        if port is None:
            known = ", ".join(str(one) for one in self.ports if one.step == source.step) or "nothing"
            self.complain(key, [("", f"{str(source)!r} does not exist; there is {known}")])
        return port

    def optional(self, given: Sequence[Source]) -> bool:
        """Whether rows or items of a value can be absent from all of its sources."""
        return all(self.ports[source].optional for source in given if source in self.ports)

    def check_results(self, results: Mapping[str, tuple[Source, ...]], handled: bool) -> None:
        for name, given in results.items():
            for source in given:
                self.port(source, f"results.{name}")
        if handled or self.found:
            return
        declared = {tensor.name: tensor for tensor in self.pipeline.outputs}
        for name in results:
            if name not in declared:
                self.complain(f"results.{name}", [("", "is no output of the pipeline")])
        for name, tensor in declared.items():
            if name not in results:
                self.complain(f"results.{name}", [("", "missing")])
            else:
                self.check_result(tensor, results[name], f"results.{name}")

    def check_result(self, tensor: Tensor, given: tuple[Source, ...], key: str) -> None:
        if tensor.datatype == "JSON":
            return
        if self.optional(given):
            self.complain(key, [("", "can be absent: give `otherwise`, or declare the output as JSON")])
        for source in given:
            port = self.ports[source]
            if port.gathered and port.datatype != "BYTES":
                reason = f"{source} has as many {port.datatype} as a row has items: declare the output as JSON"
                self.complain(key, [("", reason)])
            elif reason := misfit(port, False, tensor):
                self.complain(key, [("", f"{source} {reason}")])

    def complain(self, key: str, reasons: Sequence[Complaint]) -> None:
        self.found += [(f"{key}.{below}" if below else key, reason) for below, reason in reasons]


def model_complaints(pipeline: Manifest, step: Step, model: Manifest) -> list[Complaint]:
    """Whether the step names its model's inputs and outputs, and whether that model can run there."""
    if model.kind == "pipeline":
        return [("model", f"{step.model!r} is a pipeline; the steps of one are models")]
    found: list[Complaint] = []
    if missing := [pool for pool in pipeline.pools if pool not in model.pools]:
        found.append(("model", f"{step.model!r} does not run in pool {missing[0]!r}, where the pipeline does"))
    if not model.rowed:
        found.append(("model", f"{step.model!r} takes no rows: its shapes must begin with -1"))
    names = [tensor.name for tensor in model.inputs]
    found += [(f"inputs.{name}", f"missing: {step.model!r} takes it") for name in names if name not in step.inputs]
    for name in step.inputs:
        if name not in names:
            found.append((f"inputs.{name}", f"is no input of {step.model!r}; its inputs are {', '.join(names)}"))
    for name, value in step.otherwise.items():
        tensor = next((one for one in model.outputs if one.name == name), None)
        if tensor is None:
            found.append((f"otherwise.{name}", f"is no output of {step.model!r}"))
        elif reason := value_complaint(tensor, value):
            found.append((f"otherwise.{name}", reason))
    return found


def value_complaint(tensor: Tensor, value: object) -> str:
    """What is wrong with a value that stands for one row of an output."""
    if tensor.datatype == "JSON":
        return ""
    faults: list[Fault] = []
    signature.count_rows(tensor, [value], True, faults)
    return f"does not fit {tensor.datatype} {list(tensor.shape[1:])}: {faults[0].detail}" if faults else ""


def misfit(port: Port, split: bool, tensor: Tensor) -> str:
    """Why a value cannot be a tensor; empty where it can. JSON is looked at when it is there."""
    if port.datatype == "JSON":
        return ""
    shape = (port.shape[0], *port.shape[2:]) if split else port.shape
    if port.datatype != tensor.datatype:
        return f"is {port.datatype}, {tensor.datatype} is taken"
    fits = len(shape) == len(tensor.shape) and all(
        -1 in (a, b) or a == b for a, b in zip(shape, tensor.shape, strict=True)
    )
    return "" if fits else f"has shape {list(shape)}{' an item' if split else ''}, {list(tensor.shape)} is taken"
