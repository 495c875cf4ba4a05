"""A pipeline run in this process: its models are loaded here, and each batch is one step's calls of all the jobs."""

from collections.abc import Mapping, Sequence
from functools import partial

from errors import PenstockError
from models import handler, outputs, pipelines
from models.batch import row_count
from models.catalog import Catalog, Entry
from models.course import Course, Due
from models.loading import LoadedModel, load
from models.manifest import Manifest
from models.running import Call, Outcome


class LoadedPipeline:
    """As `LoadedModel` to a test."""

    def __init__(self, catalog: Catalog, entry: Entry) -> None:
        self.manifest = entry.manifest
        self.graph = pipelines.graph(entry.manifest, entry.path, partial(find, catalog))
        self.steps: Mapping[str, LoadedModel] = {
            step.name: load(catalog.get(step.model), "cpu") for step in entry.manifest.steps
        }
        self.handler = handler.load(entry)

    def warm_up(self) -> None:
        for model in self.steps.values():
            model.warm_up()

    def run(self, calls: Sequence[Call]) -> list[Outcome]:
        courses = {number: Course(self.graph, call.inputs) for number, call in enumerate(calls)}
        failed: dict[int, PenstockError] = {}
        while due := [(number, one) for number, course in courses.items() for one in course.advance()]:
            for number, one, outcome in self.run_calls(due):
                if isinstance(outcome, PenstockError):
                    failed[number] = outcome
                    courses.pop(number, None)
                elif number in courses:
                    courses[number].take(one.step, one.number, outcome)
        return [failed.get(number) or self.finish(courses[number], call) for number, call in enumerate(calls)]

    def run_calls(self, due: Sequence[tuple[int, Due]]) -> list[tuple[int, Due, Outcome]]:
        found = []
        for step, model in self.steps.items():
            mine = [(number, one) for number, one in due if one.step == step]
            outcomes = model.run([Call(one.call.tensors) for _, one in mine]) if mine else []
            found += [(number, one, outcome) for (number, one), outcome in zip(mine, outcomes, strict=True)]
        return found

    def finish(self, course: Course, call: Call) -> Outcome:
        made = course.results()
        if self.handler.postprocess:
            made = self.handler.postprocess(made, call.parameters)
        return outputs.validate(self.manifest, made, row_count(call.inputs))


def find(catalog: Catalog, model: str, version: str | None) -> Manifest:
    return catalog.get(model, version).manifest
