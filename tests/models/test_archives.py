"""A torch.export archive is read only where reading it runs nothing."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from errors import LoadError
from models.runtimes import archives


class Layer(torch.nn.Module):
    """With a constant, a buffer, and arithmetic on a variable size."""

    offset: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(2, 3)
        self.register_buffer("offset", torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        doubled = torch.cat([x, x])
        made: torch.Tensor = self.linear(doubled)[: (x.shape[0] * 2 + 1) // 2 + 1]
        return made + self.offset * torch.tensor([1.0, 2.0, 3.0])


class Evil:
    """What a pickle can do: call anything."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    rows = torch.export.Dim("rows", min=1, max=64)
    program = torch.export.export(Layer(), (torch.ones(2, 2),), dynamic_shapes=({0: rows},))
    torch.export.save(program, tmp_path / "model.pt2")
    return tmp_path / "model.pt2"


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "code was run"


def rewrite(file: Path, change: Callable[[str, bytes], bytes], added: dict[str, bytes] | None = None) -> None:
    """Change or add records of an archive."""
    with zipfile.ZipFile(file) as old:
        records = {name: old.read(name) for name in old.namelist()}
    root = next(iter(records)).split("/")[0]
    with zipfile.ZipFile(file, "w") as new:
        for name, content in records.items():
            new.writestr(name, change(name, content))
        for name, content in (added or {}).items():
            new.writestr(f"{root}/{name}", content)


def test_honest_archive_is_read(archive: Path) -> None:
    program = archives.load(archive)
    assert program.module()(torch.ones(5, 2)).shape == (6, 3)


def test_pickle_among_the_sample_inputs_is_not_run(archive: Path, mark: Path) -> None:
    buffer = io.BytesIO()
    torch.save((Evil(mark),), buffer)
    rewrite(archive, lambda name, content: buffer.getvalue() if "sample_inputs" in name else content)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        archives.load(archive)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["data/constants/opaque_obj_0", "data/constants/custom_obj_0"])
def test_pickled_constant_is_refused(archive: Path, mark: Path, name: str) -> None:
    rewrite(archive, lambda _, content: content, {name: pickle.dumps(Evil(mark))})
    with pytest.raises(LoadError, match=f"holds '{name}', a pickled object or machine code"):
        archives.load(archive)
    assert not mark.exists()


def test_machine_code_is_refused(archive: Path) -> None:
    rewrite(archive, lambda _, content: content, {"data/aotinductor/model/x.so": b"\x7fELF"})
    with pytest.raises(LoadError, match="machine code"):
        archives.load(archive)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("target", "torch.os.system"),
        ("target", "torch.ops.load_library"),
        ("target", "torch.ops.aten.add.__class__"),
        ("target", "_operator.methodcaller"),
        ("expr_str", "__import__('os').system('true')"),
        ("expr_str", "open('x')"),
        ("expr_str", "S('exit ()')"),
        ("expr_str", "(lambda: 1)()"),
    ],
)
def test_python_in_place_of_an_operator_or_a_size_is_refused(archive: Path, key: str, text: str) -> None:
    def poison(content: Any) -> Any:
        if isinstance(content, dict):
            return {name: text if name == key else poison(value) for name, value in content.items()}
        return [poison(value) for value in content] if isinstance(content, list) else content

    def change(name: str, content: bytes) -> bytes:
        return json.dumps(poison(json.loads(content))).encode() if name.endswith("models/model.json") else content

    rewrite(archive, change)
    with pytest.raises(LoadError, match=f"{key} .* is no operator or size; it would be run as Python"):
        archives.load(archive)


@pytest.mark.parametrize("guard", ["L['x'].size()[0] >= 1", "L['x'].size()[0] * 2 <= 64", "not math.isnan(L['p'])"])
def test_guards_on_sizes_are_harmless(guard: str) -> None:
    assert archives.harmless("guards_code", guard)


def test_guard_that_calls_anything_is_not_harmless() -> None:
    assert not archives.harmless("guards_code", "exit() or L['x'].size()[0] >= 1")
    assert not archives.harmless("guards_code", "L['x'].data.numpy().tofile('x')")


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x80\x04."])
def test_file_of_another_kind_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pt2").write_bytes(content)
    with pytest.raises(LoadError, match=r"model\.pt2: not an archive"):
        archives.load(tmp_path / "model.pt2")


def test_archive_that_holds_no_program_is_named(tmp_path: Path) -> None:
    torch.save({"x": torch.ones(1)}, tmp_path / "model.pt2")
    with pytest.raises(LoadError, match="holds no program"):
        archives.load(tmp_path / "model.pt2")
