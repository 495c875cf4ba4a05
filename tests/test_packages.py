"""`penstock models pack` and `add`, as an operator types them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from storage.objects import open_objects
from storage.s3server import parse
from tests.models.packages import folder as write
from tests.models.repository import PLAIN
from tests.models.repository import write as write_model
from tests.site import Site

ROOT = Path(__file__).resolve().parents[1]


def environment(folder: Path, **env: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "AWS_", "COV_"))}
    own = {"PENSTOCK_HOME": str(ROOT), "PENSTOCK_DATA": str(folder), "PENSTOCK_MODELS": str(folder / "r")}
    return kept | own | env


def penstock(folder: Path, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "penstock", "models", *words]
    return subprocess.run(command, cwd=folder, env=environment(folder, **env), capture_output=True, text=True)


def names(repository: Path) -> list[str]:
    return sorted(path.relative_to(repository).as_posix() for path in repository.rglob("*"))


#: Runs `plain` on what `plain` makes.
PIPELINE: dict[str, Any] = PLAIN | {
    "name": "twice",
    "kind": "pipeline",
    "runtime": "",
    "steps": [
        {"name": "once", "model": "plain", "inputs": {"x": "inputs.x"}},
        {"name": "again", "model": "plain", "inputs": {"x": "once.y"}},
    ],
    "results": {"y": "again.y"},
}
WHOLE = ["plain", "plain/1", "plain/1/weights.bin", "plain/handler.py", "plain/model.yaml"]


def test_packed_model_is_added_to_another_repository(tmp_path: Path) -> None:
    packed = penstock(tmp_path, "pack", str(write(tmp_path / "a")))
    assert packed.returncode == 0, packed.stderr
    assert packed.stdout.startswith("plain-1.zip: plain version 1, 3 files")
    added = penstock(tmp_path, "add", "plain-1.zip")
    assert added.returncode == 0, added.stderr
    assert names(tmp_path / "r") == WHOLE
    assert packed.stdout.splitlines()[1] == added.stdout.splitlines()[1]


def test_version_that_is_there_is_no_error_and_another_one_is(tmp_path: Path) -> None:
    assert penstock(tmp_path, "add", str(write(tmp_path / "a"))).returncode == 0
    again = penstock(tmp_path, "add", str(tmp_path / "a" / "plain"), "--json")
    assert json.loads(again.stdout)["status"] == "present"
    other = penstock(tmp_path, "add", str(write(tmp_path / "b", weights=b"other")))
    assert (other.returncode, other.stdout) == (2, "")
    assert "has a version 1 with other content" in other.stderr
    assert names(tmp_path / "r") == WHOLE


def test_package_of_a_pipeline_names_the_models_of_its_steps(tmp_path: Path) -> None:
    write_model(tmp_path / "a", PIPELINE, name="twice")
    packed = penstock(tmp_path, "pack", "a/twice")
    assert packed.stdout.startswith("twice-1.zip: twice version 1, 1 files")
    assert packed.stderr == "a pipeline; pack the models of its steps as well: plain\n"
    added = penstock(tmp_path, "add", "twice-1.zip")
    assert added.returncode == 0, added.stderr
    assert added.stderr == "a pipeline; it is served once the models of its steps are there: plain\n"
    assert "no model 'plain'" in penstock(tmp_path, "check").stdout
    assert penstock(tmp_path, "add", str(write(tmp_path / "a"))).stderr == ""
    again = penstock(tmp_path, "add", "twice-1.zip", "--json")
    assert (json.loads(again.stdout)["status"], json.loads(again.stdout)["needs"]) == ("present", [])
    assert penstock(tmp_path, "check").returncode == 0


def test_spoilt_package_leaves_the_repository_as_it_was(tmp_path: Path) -> None:
    penstock(tmp_path, "pack", str(write(tmp_path / "a")), "-o", "m.zip")
    content = (tmp_path / "m.zip").read_bytes()
    (tmp_path / "m.zip").write_bytes(content.replace(b"weights", b"w3ights", 3))
    refused = penstock(tmp_path, "add", "m.zip")
    assert refused.returncode == 2
    assert refused.stderr.startswith("penstock: m.zip: ")
    assert names(tmp_path / "r") == []


def test_package_of_an_allowed_host_is_added(tmp_path: Path, site: Site) -> None:
    penstock(tmp_path, "pack", str(write(tmp_path / "a")), "-o", "m.zip")
    site.content = (tmp_path / "m.zip").read_bytes()
    trust = str(site.certificate)
    refused = penstock(tmp_path, "add", site.url("/m.zip"), SSL_CERT_FILE=trust)
    assert "PENSTOCK_MODEL_HOSTS names none" in refused.stderr
    added = penstock(tmp_path, "add", site.url("/m.zip"), SSL_CERT_FILE=trust, PENSTOCK_MODEL_HOSTS=f"a, {site.place}")
    assert added.returncode == 0, added.stderr
    assert names(tmp_path / "r") == WHOLE


def test_ctrl_c_leaves_nothing(tmp_path: Path, site: Site) -> None:
    command = [sys.executable, "-m", "penstock", "models", "add", site.url("/hang")]
    env = environment(tmp_path, SSL_CERT_FILE=str(site.certificate), PENSTOCK_MODEL_HOSTS=site.place)
    process = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
    assert site.hangs.wait(60)
    assert any(name.endswith("package.zip") for name in names(tmp_path / "r"))
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in told
    assert names(tmp_path / "r") == []


@pytest.mark.service
def test_package_in_a_bucket_is_added(tmp_path: Path, objects_url: str) -> None:
    penstock(tmp_path, "pack", str(write(tmp_path / "a")), "-o", "m.zip")
    open_objects(objects_url).put("packages/m.zip", [(tmp_path / "m.zip").read_bytes()])
    address = f"s3://{parse(objects_url).bucket}/packages/m.zip"
    added = penstock(tmp_path, "add", address, PENSTOCK_OBJECTS_URL=objects_url)
    assert added.returncode == 0, added.stderr
    assert names(tmp_path / "r") == WHOLE
    server = parse(objects_url)
    keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
    again = penstock(tmp_path, "add", address, AWS_ENDPOINT_URL=f"http://{server.host}", **keys)
    assert "there already" in again.stdout, again.stderr
