"""One job's way through a pipeline: which calls of which models it needs next, until its outputs are there. Pure."""

from typing import NamedTuple

from errors import ModelError, PenstockError
from models.arrays import Batch, Rows
from models.batch import row_count
from models.composing import Graph
from models.graph import INPUTS, Source, advance
from models.splitting import Call, Split, merge, split


class Due(NamedTuple):
    """One call of a step's model."""

    step: str
    #: The call's number in its step.
    number: int
    call: Call


class Course:
    """Not thread-safe."""

    def __init__(self, graph: Graph, inputs: Batch) -> None:
        self._graph = graph
        self._rows = row_count(inputs)
        self._values: dict[Source, Rows] = {Source(INPUTS, name): rows for name, rows in inputs.items()}
        self._steps = [node.step for node in graph.nodes.values()]
        self._splits: dict[str, Split] = {}
        #: Outputs of the calls so far, by step.
        self._made: dict[str, list[Batch | None]] = {}
        self._ended: set[str] = set()

    @property
    def ended(self) -> bool:
        return len(self._ended) == len(self._steps)

    def advance(self) -> list[Due]:
        """The calls that can be made now; each is named once. Raises PenstockError that names the step."""
        due: list[Due] = []
        while steps := advance(self._steps, started=self._splits, ended=self._ended):
            for step in steps:
                node = self._graph.nodes[step.name]
                try:
                    found = self._splits[step.name] = split(node, self._values, self._rows)
                except PenstockError as error:
                    raise in_step(step.name, error) from error
                self._made[step.name] = [None] * len(found.calls)
                due += [Due(step.name, number, call) for number, call in enumerate(found.calls)]
                # Where nothing is to be run, what comes after it may go on at once.
                self._settle(step.name)
        return due

    def take(self, step: str, number: int, outputs: Batch) -> None:
        """Take a call's outputs in."""
        self._made[step][number] = outputs
        self._settle(step)

    def results(self) -> Batch:
        """What the pipeline's `results` name, once it has ended."""
        return {name: self._first(sources) for name, sources in self._graph.results.items()}

    def _settle(self, step: str) -> None:
        made = [outputs for outputs in self._made[step] if outputs is not None]
        if len(made) == len(self._made[step]):
            self._values.update(merge(self._graph.nodes[step], self._splits[step], made))
            self._ended.add(step)

    def _first(self, sources: tuple[Source, ...]) -> Rows:
        """A value row by row from the first source that has it."""
        columns = [self._values[source] for source in sources]
        if len(columns) == 1:
            return columns[0]
        rows = zip(*columns, strict=True)
        return [next((value for value in row if value is not None), None) for row in rows]


def in_step(step: str, error: PenstockError) -> PenstockError:
    """The error, telling the step it came from; of the same kind."""
    kind = type(error) if type(error).__init__ is PenstockError.__init__ else ModelError
    return kind(f"step {step!r}: {error.detail}")
