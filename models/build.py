"""Build the example models into a model repository: `python -m models.build [--into repository] [names…]`.

An example is a folder of `models/examples`: its `model.yaml` and handler are copied, its `build.py`,
if it has one, fills the version's folder. With a pipeline come the models of its steps. A model is
built beside its place and moved there when it is whole; one whose sources have not changed is left
as it is, and so is a folder that was not built here.
"""

import fcntl
import hashlib
import importlib
import shutil
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from errors import OperatorError
from models import pipelines, reading
from models.manifest import Manifest
from models.wheels import Wheels

EXAMPLES = Path(__file__).parent / "examples"
VERSION = "1"
#: What a built model was built from; its presence says that the folder may be replaced.
STAMP = ".built-from"


@click.command()
@click.option("--into", type=click.Path(path_type=Path), default=Path("repository"), show_default=True)
@click.option("--cache", type=click.Path(path_type=Path), default=Path(".penstock/cache"), show_default=True)
@click.argument("names", nargs=-1)
def main(into: Path, cache: Path, names: tuple[str, ...]) -> None:
    """Build the example models NAMES, all by default."""
    known = {path.name: reading.read(path) for path in sorted(EXAMPLES.iterdir()) if (path / reading.FILE).is_file()}
    if unknown := [name for name in names if name not in known]:
        raise click.BadParameter(f"no example {unknown[0]!r}; there are {', '.join(known)}")
    into.mkdir(parents=True, exist_ok=True)
    try:
        with alone(into):
            for name in chosen(names or tuple(known), known):
                build(name, into, Wheels(cache))
    except OperatorError as error:
        print(f"error: {error.detail}", file=sys.stderr)
        sys.exit(1)


def chosen(names: Collection[str], known: Mapping[str, Manifest]) -> list[str]:
    """The examples to build, pipelines after the models of their steps: they are served once these are there."""
    found = pipelines.with_steps(names, {name: [manifest] for name, manifest in known.items()})
    return sorted(found, key=lambda name: (known[name].kind == "pipeline", name))


def build(name: str, into: Path, wheels: Wheels) -> None:
    """Bring one example up to date in the repository `into`."""
    source, target = EXAMPLES / name, into / name
    stamp = fingerprint(source)
    if target.exists() and not (target / STAMP).is_file():
        say(name, f"left alone: {target} was not built here")
        return
    if target.exists() and (target / STAMP).read_text() == stamp:
        say(name, "up to date")
        return
    say(name, "building …")
    started = time.monotonic()
    making = into / f".{name}.new" / name
    shutil.rmtree(making.parent, ignore_errors=True)
    remark = fill(making, source, wheels)
    (making / STAMP).write_text(stamp)
    reading.read(making)
    replace(making, target)
    say(name, f"built in {time.monotonic() - started:.1f} s" + (f": {remark}" if remark else ""))


def fill(making: Path, source: Path, wheels: Wheels) -> str:
    (making / VERSION).mkdir(parents=True)
    for file in files(source):
        if file.name != "build.py":
            shutil.copy(file, making / file.name)
    if not (source / "build.py").is_file():
        return ""
    module = importlib.import_module(f"models.examples.{source.name}.build")
    remark: str = module.build(making / VERSION, wheels)
    return remark


def replace(making: Path, target: Path) -> None:
    """Put a finished model in its place; a reader sees the old one or the new one."""
    old = making.parent / "old"
    if target.exists():
        target.rename(old)
    making.rename(target)
    shutil.rmtree(making.parent)


def fingerprint(source: Path) -> str:
    """One hash over an example's files and their names."""
    digest = hashlib.sha256()
    for file in files(source):
        digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def files(source: Path) -> list[Path]:
    return sorted(path for path in source.iterdir() if path.is_file())


@contextmanager
def alone(into: Path) -> Iterator[None]:
    """Hold the repository against a second build, which waits."""
    with (into / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def say(name: str, words: str) -> None:
    print(f"{name:<10} {words}", flush=True)


if __name__ == "__main__":
    main()
