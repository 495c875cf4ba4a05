"""A job submitted as a form: `-F model=ocr -F image=@page.png`.

Fields that a submission has are read as such, `inputs`, `parameters` and `metadata` as JSON; each file, and each
other field, is the input of its name. Files over 64 KiB go to the object store as they arrive.
"""

from base64 import b64encode
from collections.abc import Iterable
from typing import Any

import msgspec

from errors import Fault, InvalidInput
from gateway.forms import Part, parts
from gateway.inputs import INLINE_LIMIT, Inputs, input_key
from gateway.json_bodies import anything, escaped, located, read_whole
from gateway.resolving import Resolver
from gateway.submission import Input, Submission, checked, read_inputs
from models.catalog import Entry
from models.manifest import Manifest
from storage.objects import Stored

_OWN = frozenset(Submission.__struct_fields__)
_JSON = frozenset({"inputs", "parameters", "metadata"})
_encode = msgspec.json.Encoder().encode


class JobForm:
    """Reads one form; `moved` are the keys of the objects that it made."""

    def __init__(self, inputs: Inputs, resolver: Resolver, *, tenant: str, job: str, max_bytes: int) -> None:
        self._inputs = inputs
        self._resolver = resolver
        #: The version that the job gets, once the form is read.
        self.entry: Entry | None = None
        self._tenant = tenant
        self._job = job
        self._max_bytes = max_bytes
        self._fields: dict[str, Any] = {}
        self._given: dict[str, bytes | str | Stored | Input] = {}
        self._keys: dict[str, str] = {}
        self.moved: list[str] = []

    def read(self, chunks: Iterable[bytes]) -> tuple[Submission, dict[str, Input]]:
        """The submission and its inputs; raises MalformedBody, InvalidInput, PayloadTooLarge, ObjectsUnavailable."""
        for part in parts(chunks):
            if part.filename is None and part.name in _OWN:
                self._once(self._fields, part, self._field(part))
            else:
                self._once(self._given, part, self._input(part))
        submission = self._submission()
        self.entry = self._resolver.get(submission.model, submission.version)
        manifest = self.entry.manifest
        self._rename(manifest)
        inputs = read_inputs(submission)
        if twice := next((name for name in self._given if name in inputs), None):
            raise given_twice(twice)
        return submission, inputs | {name: self._value(name, manifest) for name in self._given}

    def _once(self, into: dict[str, Any], part: Part, value: object) -> None:
        if part.name in into:
            raise given_twice(part.name)
        into[part.name] = value

    def _field(self, part: Part) -> Any:
        text = part.read(self._max_bytes)
        if part.name in _JSON or (part.name == "webhook" and text[:1] == b"{"):
            return read_whole(text, anything, place=f"#/{part.name}")
        value = read_text(text, part.name)
        return {"url": value} if part.name == "webhook" else value

    def _input(self, part: Part) -> bytes | str | Stored | Input:
        if part.content_type == "application/json":
            raw = part.read(self._max_bytes)
            return Input(read_whole(raw, anything, place=f"#/inputs/{escaped(part.name)}"), raw)
        if part.filename is None:
            return read_text(part.read(self._max_bytes), part.name)
        head, rest = part.head(INLINE_LIMIT)
        return head if rest is None else self._store(part.name, part.stream(head, rest))

    def _store(self, name: str, chunks: Iterable[bytes]) -> Stored:
        key = input_key(self._tenant, self._job, f"f{len(self.moved)}")
        self.moved.append(key)
        self._keys[name] = key
        return self._inputs.store(key, chunks, max_bytes=self._max_bytes)

    def _submission(self) -> Submission:
        fields = dict(self._fields)
        named = fields.pop("inputs", {})
        if not isinstance(named, dict):
            raise InvalidInput("#/inputs must be an object", faults=[Fault("#/inputs", "must be an object")])
        try:
            submission = msgspec.convert({**fields, "inputs": {}}, Submission, strict=False)
        except msgspec.ValidationError as error:
            fault = located(str(error))
            raise InvalidInput(f"{fault.pointer} {fault.detail}", faults=[fault]) from error
        raw = {name: msgspec.Raw(_encode(value)) for name, value in named.items()}
        return checked(msgspec.structs.replace(submission, inputs=raw))

    def _rename(self, manifest: Manifest) -> None:
        """With one input, any field name serves."""
        if len(manifest.inputs) == len(self._given) == 1 and not self._fields.get("inputs"):
            ((old, value),) = self._given.items()
            new = manifest.inputs[0].name
            self._given = {new: value}
            if old in self._keys:
                self._keys = {new: self._keys[old]}

    def _value(self, name: str, manifest: Manifest) -> Input:
        given = self._given[name]
        if isinstance(given, Input):
            return given
        if isinstance(given, str):
            return Input(given, _encode(given))
        numeric = any(tensor.name == name and tensor.datatype != "BYTES" for tensor in manifest.inputs)
        if isinstance(given, bytes):
            if not numeric:
                value = {"b64": b64encode(given).decode()}
                return Input(value, _encode(value))
            # A numeric input's file is a .npy file, which the message has no form for.
            given = self._store(name, [given])
        reference = {"object": self._keys[name], "as": "bytes"}
        return Input(reference, _encode(reference), stored=given.sha256)


def read_text(text: bytes, name: str) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        fault = Fault(f"#/{escaped(name)}", "is no UTF-8; send bytes as a file")
        raise InvalidInput(f"the form field {name[:80]!r} {fault.detail}", faults=[fault]) from error


def given_twice(name: str) -> InvalidInput:
    fault = Fault(f"#/inputs/{escaped(name)}", "is given twice")
    return InvalidInput(f"the form field {name[:80]!r} is given twice", faults=[fault])
