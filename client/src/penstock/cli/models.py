"""`penstock models`."""

import click
from rich.text import Text

from penstock.cli import screen
from penstock.cli.lazy import Entry, LazyGroup
from penstock.cli.session import complete_models, connect, json_option
from penstock.models import Model, ModelVersion, Tensor

CLIENT = {
    "list": Entry("penstock.cli.models:show_all", "List the models of the farm."),
    "show": Entry("penstock.cli.models:show", "Show one model: inputs, outputs, versions."),
    "load": Entry("penstock.cli.versions:load", "Serve a version, whatever the policy says."),
    "unload": Entry("penstock.cli.versions:unload", "Serve a version no more, once its jobs have run."),
    "label": Entry("penstock.cli.versions:label", "Point a label at a version, or take it away."),
    "traffic": Entry("penstock.cli.versions:traffic", "Split the jobs that ask for no version by weight."),
    "promote": Entry("penstock.cli.versions:promote", "Send all jobs that ask for no version to one."),
    "rollback": Entry("penstock.cli.versions:rollback", "Undo the last promotion."),
}
COLOURS = {
    "ready": "green",
    "loading": "cyan",
    "draining": "cyan",
    "no_worker": "yellow",
    "not_loaded": "dim",
    "failed": "red",
    "broken": "red",
}
OPERATOR = {
    "check": Entry("checkout:models check", "Read every manifest of a repository; exit 1 when one is broken."),
    "init": Entry("checkout:models init", "Make a model from a bare file: model.onnx, .pt2, .xml, .tflite."),
    "pack": Entry("checkout:models pack", "Write a version of a model's FOLDER as one file, the same bytes each time."),
    "add": Entry("checkout:models add", "Put a model into the repository: a zip, a folder, https:// or s3://."),
}


@click.group(
    cls=LazyGroup,
    sections={"Commands": CLIENT, "Operator commands (in a checkout)": OPERATOR},
    short_help="The models of the farm.",
)
def models() -> None:
    """The models of the farm."""


@click.command(short_help="List the models of the farm.")
@json_option
def show_all(as_json: bool) -> None:
    """List the models of the farm: which versions are served, and what goes in and out.

    \b
    penstock models list
    penstock models list --json | jq -r '.[].name'
    """
    with connect() as client:
        found = client.models.list()
    if as_json:
        return screen.show_json([model.raw for model in found])
    rows = [
        (model.name, served(model), state(model), signature(model.inputs), signature(model.outputs)) for model in found
    ]
    return screen.show_table(("NAME", "VERSIONS", "STATE", "INPUTS", "OUTPUTS"), rows)


@click.command(short_help="Show one model: inputs, outputs, versions.")
@click.argument("name", shell_complete=complete_models)
@click.option("--version")
@json_option
def show(name: str, version: str | None, as_json: bool) -> None:
    """Show the model NAME: inputs, outputs, versions.

    \b
    penstock models show minilm
    penstock models show minilm --version 1 --json | jq .statistics
    """
    with connect() as client:
        model = client.models.get(name, version)
    if as_json:
        return screen.show_json(model.raw)
    told = {"name", "version", "versions", "state", "reason", "inputs", "outputs", "pools", "object", "version_states"}
    return screen.show_fields(
        [
            ("name", model.name),
            ("state", state(model)),
            ("version", model.version or ""),
            ("versions", " ".join(model.versions) if not model.version_states else ""),
            *((f"versions.{one.version}", state_of(one)) for one in model.version_states),
            ("pools", " ".join(model.pools)),
            *((f"inputs.{item.name}", tensor(item)) for item in model.inputs),
            *((f"outputs.{item.name}", tensor(item)) for item in model.outputs),
            *((key, screen.preview(value)) for key, value in model.raw.items() if key not in told and value),
        ]
    )


def state(model: Model) -> Text:
    text = Text(model.state or "", style=COLOURS.get(model.state or "", ""))
    return text.append(f": {model.reason}", style="") if model.reason else text


def served(model: Model) -> Text | str:
    """Each version that is there for jobs, with its labels and share, a line each."""
    lines = [state_of(one, named=True) for one in model.version_states if one.state != "not_loaded"]
    return Text("\n").join(lines) if lines else model.version or ""


def state_of(one: ModelVersion, *, named: bool = False) -> Text:
    """A version's state, labels and share in one line: with its name, or with what is wrong."""
    words = [*one.labels, *([f"{one.share:.0%} of the jobs"] if one.share else [])]
    text = Text(f"{one.version} " if named else "").append(one.state, style=COLOURS.get(one.state, ""))
    if words:
        text.append(f" ({', '.join(words)})")
    return text.append(f": {one.reason}") if one.reason and not named else text


def signature(tensors: tuple[Tensor, ...]) -> str:
    return "\n".join(f"{item.name} {tensor(item)}" for item in tensors)


def tensor(item: Tensor) -> str:
    return f"{item.datatype} {list(item.shape)}"
