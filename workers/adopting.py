"""`penstock models init`: a bare model file becomes a model of the repository, and is shown to work."""

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from errors import LoadError, PackageError, VersionExists
from models import arrival, drafting
from models.describing import FORMATS, Description, Port, Refused
from models.reading import FILE, NAME
from workers.executor import ROOT
from workers.proving import Failed, Prover

VERSION = "1"
#: Seconds that a library may take to read a file.
DESCRIBING_S = 600.0
PICKLE = (
    "{file} is a pickle, or TorchScript. Pickles are never loaded: export the model with torch.export.save(…, "
    "'model.pt2'), or say --torchscript where it is that"
)
ALIKE = "rows that run together give the same as alone, so jobs share batches"
MIXED = (
    "rows that run together give something else than alone: the first axis does not count rows. Jobs run one by one "
    "(max_items: 1); an export whose first axis is the batch would be quicker"
)
FIXED = (
    "the file fixes the first axis of some tensor, so jobs run one by one (max_items: 1); an export with an open batch "
    "axis would be quicker"
)
OPEN = (
    "{names}: rows may differ in size. Only equal ones share a batch; name the input in batching.pad to have them "
    "filled up"
)


class Adopted(msgspec.Struct, frozen=True):
    """What was made."""

    model: str
    version: str
    runtime: str
    #: The model's folder.
    path: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    #: Loading with warm-up, and one run of the example, milliseconds.
    load_ms: float
    example_ms: float
    #: What to look at.
    remarks: tuple[str, ...]


def adopt(name: str, file: Path, repository: Path, *, runtime: str, torchscript: bool, told: list[Port]) -> Adopted:
    """Make the model `name` from `file`; raises PackageError or LoadError, and then nothing has changed."""
    if not NAME.fullmatch(name):
        raise PackageError(f"the name {name!r} must match {NAME.pattern}")
    if (repository / name).exists():
        raise VersionExists(
            f"{repository / name} is there; put a new version into it as a folder beside the others, or take another "
            "name"
        )
    form = form_of(file, torchscript)
    runtime = runtime or ("torch" if form == "torchscript" else form)
    form = "openvino" if runtime == "openvino" else form
    if form.removesuffix("script") != runtime:
        raise PackageError(f"runtime {runtime!r} does not read {file.name}")
    with arrival.incoming(repository) as place:
        description = described(form, file, place / "description.json", told)
        copy(file, description, form, place / name / VERSION)
        adopted = proven(place, name, runtime, file, description)
        arrival.publish(place / name, VERSION, repository)
    return msgspec.structs.replace(adopted, path=str(repository / name))


def form_of(file: Path, torchscript: bool) -> str:
    if (file / "saved_model.pb").is_file():
        return "openvino"
    if not file.is_file():
        raise PackageError(f"{file}: no such file, and no folder that holds a saved_model.pb")
    if torchscript:
        return "torchscript"
    if file.suffix in (".pt", ".pth", ".ts", ".bin", ".ckpt", ".pkl"):
        raise PackageError(PICKLE.format(file=file))
    try:
        return FORMATS[file.suffix]
    except KeyError as error:
        known = ", ".join(FORMATS)
        raise PackageError(f"{file}: no format that is known by its ending; known are {known}") from error


def described(form: str, file: Path, answer: Path, told: list[Port]) -> Description:
    """Read the file in a process of its own; raises PackageError with the library's reason."""
    words = [form, str(file.resolve()), str(answer.resolve()), msgspec.json.encode(told).decode()]
    command = [sys.executable, "-m", "models.describing", *words]
    try:
        ended = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, timeout=DESCRIBING_S)
    except subprocess.TimeoutExpired as error:
        raise PackageError(f"{file}: not read after {DESCRIBING_S:g} s") from error
    if not answer.exists():
        said = ended.stderr.decode(errors="replace").strip().splitlines()
        why = said[-1] if said else f"its process ended with {ended.returncode}"
        raise PackageError(f"{file}: cannot be read: {why}")
    found = msgspec.json.decode(answer.read_bytes(), type=dict[str, msgspec.Raw])
    if "Refused" in found:
        raise PackageError(f"{file}: {msgspec.json.decode(found['Refused'], type=Refused).reason}")
    return msgspec.json.decode(found["Description"], type=Description)


def copy(file: Path, description: Description, form: str, version: Path) -> None:
    """The file under the name that its runtime looks for, and what it reads beside it."""
    version.mkdir(parents=True)
    if file.is_dir():
        shutil.copytree(file, version / "saved_model")
        return
    shutil.copyfile(file, version / ("model.ts" if form == "torchscript" else f"model{file.suffix}"))
    if file.suffix == ".xml":
        shutil.copyfile(file.with_suffix(".bin"), version / "model.bin")
    for name in description.beside:
        (version / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.parent / name, version / name)


def proven(place: Path, name: str, runtime: str, file: Path, description: Description) -> Adopted:
    """Write the manifest and hold it against the model; raises PackageError or LoadError."""
    remarks = [] if drafting.rowed(description) else [FIXED]
    prover = opened(place, name, runtime, file, description)
    try:
        jobs = [drafting.inputs(description, other=other) for other in (False, True)]
        if not remarks:
            if prover.independent(*jobs):
                remarks.append(ALIKE)
            else:
                prover.executor.stop()
                remarks.append(MIXED)
                description = drafting.alone(description)
                prover = opened(place, name, runtime, file, description)
        (outcome,), example_ms = prover.run(jobs[:1])
    finally:
        prover.executor.stop()
    if isinstance(outcome, Failed):
        raise LoadError(outcome.detail)
    if names := [port.name for port in description.inputs if -1 in port.shape[1:]]:
        remarks.append(OPEN.format(names=", ".join(names)))
    return Adopted(
        name,
        VERSION,
        runtime,
        "",
        description.inputs,
        description.outputs,
        round(prover.load_ms, 1),
        round(example_ms, 3),
        tuple(remarks),
    )


def opened(place: Path, name: str, runtime: str, file: Path, description: Description) -> Prover:
    (place / name / FILE).write_text(drafting.manifest(name, runtime, file.name, description))
    arrival.check(place / name, VERSION)
    return Prover(place, name, VERSION)
