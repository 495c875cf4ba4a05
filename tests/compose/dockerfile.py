"""A Dockerfile read as far as the tests need it."""

import json
import re
import shlex
import shutil
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: What the environment holds of pip, the search path and the like, and of no interest here.
OURS = "PENSTOCK_"


@dataclass(frozen=True)
class Dockerfile:
    path: Path
    #: Instruction and argument, continuation lines joined, comments left out.
    instructions: tuple[tuple[str, str], ...]

    @property
    def stages(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Each stage's FROM and the instructions below it."""
        stages: list[tuple[str, list[tuple[str, str]]]] = []
        for name, argument in self.instructions:
            if name == "FROM":
                stages.append((argument, []))
            else:
                stages[-1][1].append((name, argument))
        return stages

    def last(self, instruction: str) -> str:
        """The argument in force in the image: the last stage's last."""
        return [argument for name, argument in self.stages[-1][1] if name == instruction][-1]

    def command(self, instruction: str) -> list[str]:
        """A command in exec form, as of CMD or behind HEALTHCHECK's options."""
        argument = self.last(instruction)
        command: list[str] = json.loads(argument[argument.index("[") :])
        return command

    @property
    def environment(self) -> dict[str, str]:
        pairs = [word for name, argument in self.stages[-1][1] if name == "ENV" for word in shlex.split(argument)]
        return dict(pair.split("=", 1) for pair in pairs)

    @property
    def copied(self) -> list[tuple[list[str], str]]:
        """Sources in the checkout and their target, of every stage."""
        words = [shlex.split(argument) for name, argument in self.instructions if name == "COPY"]
        return [(list(sources), target) for *sources, target in words if not sources[0].startswith("--from=")]

    @property
    def app(self) -> list[tuple[list[str], str]]:
        """The same of the last stage: what lies in /app."""
        words = [shlex.split(argument) for name, argument in self.stages[-1][1] if name == "COPY"]
        return [(list(sources), target) for *sources, target in words if not sources[0].startswith("--from=")]

    def ignores(self, path: str) -> bool:
        """Whether the file beside the Dockerfile keeps `path` out of the build."""
        ignored = False
        for line in (self.path.parent / (self.path.name + ".dockerignore")).read_text().splitlines():
            pattern = line.strip().removeprefix("!")
            if pattern and not pattern.startswith("#") and (path == pattern or fnmatch(path.split("/")[0], pattern)):
                ignored = not line.startswith("!")
        return ignored

    def lay_out(self, folder: Path) -> None:
        """Copy to `folder` what the image has in /app."""
        for sources, target in self.app:
            for source in sources:
                place = folder / target / Path(source).name if target == "./" else folder / target
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / source, place)


def read(path: Path) -> Dockerfile:
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return Dockerfile(path, tuple((name, argument) for name, argument in found))
