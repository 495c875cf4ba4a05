"""Which column of the input is what: the model's inputs, the id of a row, what is passed through."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from errors import Fault, InvalidInput
from models.columns import CUSTOM_ID, ROW
from models.manifest import Tensor
from storage.scoring import Spec

#: What `keep` says for every column.
ALL = "*"
#: Columns that a message lists.
LISTED = 20

_tensors = msgspec.json.Decoder(tuple[Tensor, ...]).decode


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What rows are made of."""

    tenant: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    #: Input -> its column, or those whose values make up one row of it.
    sources: dict[str, str | tuple[str, ...]]
    #: Empty: rows have no id.
    custom_id: str
    keep: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """Every column that is read, once."""
        named = [
            name for source in self.sources.values() for name in (source if isinstance(source, tuple) else [source])
        ]
        return list(dict.fromkeys([*named, *([self.custom_id] if self.custom_id else []), *self.keep]))


def tensors(spec: Spec) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The model's inputs and outputs; raises InvalidInput for a model that does not take rows."""
    inputs, outputs = _tensors(spec.inputs), _tensors(spec.outputs)
    if not all(tensor.shape[:1] == (-1,) for tensor in (*inputs, *outputs)):
        raise InvalidInput(f"model {spec.model} does not take rows: it cannot score a table")
    return inputs, outputs


def plan(spec: Spec, names: Sequence[str]) -> Plan:
    """The plan for an input with columns `names`; raises InvalidInput with a Fault for each thing that is wrong."""
    inputs, outputs = tensors(spec)
    custom_id = spec.custom_id or (CUSTOM_ID if CUSTOM_ID in names else "")
    keep = tuple(names) if ALL in spec.keep else spec.keep
    made = Plan(
        tenant=spec.tenant,
        inputs=inputs,
        outputs=outputs,
        sources={tensor.name: source_of(spec, tensor) for tensor in inputs},
        custom_id=custom_id,
        # An id called `custom_id` is passed on as it is.
        keep=tuple(name for name in dict.fromkeys(keep) if not (name == CUSTOM_ID == custom_id)),
    )
    faults = [*mapping_faults(spec, made, names), *passing_faults(spec, made, names)]
    if faults:
        raise InvalidInput(f"the input's columns do not fit model {spec.model}: {faults[0].detail}", faults=faults)
    return made


def source_of(spec: Spec, tensor: Tensor) -> str | tuple[str, ...]:
    source = spec.mapping.get(tensor.name, tensor.name)
    # One column of single values is just that, and no list of one.
    return source[0] if isinstance(source, tuple) and len(source) == 1 == len(tensor.shape) else source


def mapping_faults(spec: Spec, made: Plan, names: Sequence[str]) -> Iterator[Fault]:
    """What the gateway cannot see; that every name is one of an input, it has seen to."""
    for tensor in made.inputs:
        source = made.sources[tensor.name]
        wanted = source if isinstance(source, tuple) else (source,)
        for name in wanted:
            if name not in names:
                yield Fault(
                    f"#/mapping/{tensor.name}", missing(tensor, name, names, mapped=tensor.name in spec.mapping)
                )
        if isinstance(source, tuple) and (reason := stacking_complaint(tensor, len(source))):
            yield Fault(f"#/mapping/{tensor.name}", reason)


def stacking_complaint(tensor: Tensor, count: int) -> str:
    """Why so many columns cannot make up a row."""
    size = 1
    for length in tensor.shape[1:]:
        size *= length
    if len(tensor.shape) == 1:
        return "" if count == 1 else f"input {tensor.name!r} takes one value in each row, not {count} columns"
    if size < 0:
        return "" if len(tensor.shape) == 2 else f"input {tensor.name!r} has more than one axis: give it one column"
    return (
        ""
        if count == size
        else f"input {tensor.name!r} takes {size} values in each row, and {count} columns are mapped"
    )


def missing(tensor: Tensor, name: str, names: Sequence[str], *, mapped: bool) -> str:
    near = difflib.get_close_matches(name, names, 1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    if not mapped and not near:
        hint = f'; name its column in `mapping`, as {{"{tensor.name}": "…"}}'
    return f"input {tensor.name!r} is read from column {name!r}, which is not there; there are {listing(names)}{hint}"


def passing_faults(spec: Spec, made: Plan, names: Sequence[str]) -> Iterator[Fault]:
    if made.custom_id and made.custom_id not in names:
        yield Fault("#/custom_id", f"column {made.custom_id!r} is not there; there are {listing(names)}")
    taken = {ROW, *(tensor.name for tensor in made.outputs), *([CUSTOM_ID] if made.custom_id else [])}
    for name in made.keep:
        if name not in names:
            yield Fault("#/keep", f"column {name!r} is not there; there are {listing(names)}")
        elif name in taken:
            yield Fault(
                "#/keep", f"column {name!r} has the name of a column of the output: list those to keep without it"
            )


def listing(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(repr(name) for name in names[:LISTED]) + more if names else "none"
