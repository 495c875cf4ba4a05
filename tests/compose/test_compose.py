"""Every command, port, variable, secret and path of compose/ is one that the code knows."""

import dataclasses
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from commands import operator
from settings import FOREIGN, Settings, env_name
from storage.s3server import parse
from tests.compose.dockerfile import ROOT, Dockerfile, read

FOLDER = ROOT / "compose"
FILE = yaml.safe_load((FOLDER / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
DOCKERFILES = {path.name: read(path) for path in sorted(FOLDER.glob("*.Dockerfile"))}
#: Services that end by themselves.
ONCE = {"models", "topology", "operator"}
#: A tag that names one release: two numbers at least.
PINNED = re.compile(r"^[\w./-]+:\d+\.\d+[\w.-]*$")


def dockerfile(service: dict[str, Any]) -> Dockerfile:
    return DOCKERFILES[Path(service["build"]["dockerfile"]).name]


def known_settings() -> set[str]:
    fields = dataclasses.fields(Settings)
    secret = {env_name(field.name) + "_FILE" for field in fields if field.metadata["secret"]}
    return {env_name(field.name) for field in fields} | secret | FOREIGN


@pytest.mark.skipif(
    shutil.which("docker") is None
    or bool(subprocess.run(["docker", "compose", "version"], capture_output=True).returncode),
    reason="needs a docker client with the compose plugin",
)
def test_docker_reads_the_compose_file() -> None:
    subprocess.run(["docker", "compose", "config", "--quiet", "--no-interpolate"], cwd=FOLDER, check=True)


@pytest.mark.parametrize("name", SERVICES)
def test_service_restarts_or_ends_by_itself_and_tells_its_health(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")
    if name in ONCE:
        assert service["healthcheck"] == {"disable": True}
    elif "build" in service:
        assert dockerfile(service).command("HEALTHCHECK")
    else:
        assert service["healthcheck"]["test"]


@pytest.mark.parametrize("name", SERVICES)
def test_service_refers_only_to_what_is_there(name: str) -> None:
    service = SERVICES[name]
    assert set(service["networks"]) <= set(FILE["networks"])
    assert {volume.partition(":")[0] for volume in service.get("volumes", [])} <= set(FILE["volumes"])
    assert {source(secret) for secret in service.get("secrets", [])} <= set(FILE["secrets"])
    assert {source(config) for config in service.get("configs", [])} <= set(FILE["configs"])
    for other, how in service.get("depends_on", {}).items():
        assert how["condition"] == ("service_completed_successfully" if other in ONCE else "service_healthy")
        assert other in SERVICES


def source(reference: str | dict[str, str]) -> str:
    return reference if isinstance(reference, str) else reference["source"]


def test_no_anchor_hides_what_a_service_was_to_override() -> None:
    assert SERVICES["models"]["volumes"] == ["models:/models"]
    assert SERVICES["gateway"]["volumes"] == ["models:/models:ro"]
    assert set(SERVICES["gateway"]["depends_on"]) == {"rabbitmq", "valkey", "objects", "topology"}
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["gateway"]
    assert FILE["networks"]["inside"] == {"internal": True}


@pytest.mark.parametrize("name", OURS)
def test_own_container_runs_without_rights_it_does_not_need(name: str) -> None:
    service = OURS[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(dockerfile(service).last("USER")) >= 1000


def test_images_of_others_are_pinned_to_a_release() -> None:
    for name, service in SERVICES.items():
        if "build" not in service:
            assert PINNED.match(service["image"]), f"{name}: {service['image']}"


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dockerfile_builds_on_pinned_images_in_stages(name: str) -> None:
    stages = DOCKERFILES[name].stages
    names: set[str] = set()
    for image, _ in stages:
        base, _, alias = image.partition(" AS ")
        assert base in names or PINNED.match(base), base
        names.add(alias)
    assert len(stages) >= 2


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dockerfile_copies_only_what_is_there_and_not_ignored(name: str) -> None:
    file = DOCKERFILES[name]
    for sources, _ in file.copied:
        for path in sources:
            assert (ROOT / path).exists(), path
            assert not file.ignores(path), path
    for path in (".venv", "repository", "compose", ".penstock", ".git"):
        assert file.ignores(path)


def test_every_variable_is_a_setting() -> None:
    named = {name for service in SERVICES.values() for name in service.get("environment", {})}
    named |= {name for file in DOCKERFILES.values() for name in file.environment if name.startswith("PENSTOCK_")}
    text = "".join(path.read_text() for path in FOLDER.iterdir() if path.is_file())
    named |= set(re.findall(r"PENSTOCK_[A-Z_]+", text))
    assert "PENSTOCK_BROKER_URL_FILE" in named
    assert named <= known_settings()


def test_secrets_are_mounted_where_the_settings_look(secrets: Path) -> None:
    for name, service in OURS.items():
        for variable, path in service["environment"].items():
            if variable.endswith("_FILE"):
                assert Path(path).parent == Path("/run/secrets"), name
                assert Path(path).name in service["secrets"], name
    assert {Path(secret["file"]) for secret in FILE["secrets"].values()} == {
        Path("secrets") / path.name for path in secrets.iterdir()
    }


def test_what_webhooks_scorings_and_signatures_need_reaches_each_process_and_may_be_left_out(secrets: Path) -> None:
    defaults = {
        "PENSTOCK_PUBLIC_URL": "", "PENSTOCK_WEBHOOK_ALLOW": "", "PENSTOCK_WEBHOOK_PORTS": "443, 8443",
        "PENSTOCK_SCORING_BUCKETS": "",
    }  # fmt: skip
    for name in set(OURS) - {"models"}:
        environment = OURS[name]["environment"]
        for variable, default in defaults.items():
            assert environment[variable] == f"${{{variable}:-{default}}}", name
        assert environment["PENSTOCK_SIGNING_KEY_FILE"] == "/run/secrets/signing_key", name
    left_out = defaults | {"PENSTOCK_SIGNING_KEY_FILE": str(secrets / "signing_key")}
    assert Settings.from_env(left_out) == Settings()


def test_secrets_name_the_services_and_their_ports(secrets: Path) -> None:
    values = {name: (secrets / name).read_text() for name in ("broker_url", "redis_url", "objects_url")}
    settings = Settings.from_env({f"PENSTOCK_{name.upper()}_FILE": str(secrets / name) for name in values})
    assert not settings.embedded
    assert (urlsplit(settings.broker_url).hostname, urlsplit(settings.broker_url).port) == ("rabbitmq", 5672)
    assert (urlsplit(settings.redis_url).hostname, urlsplit(settings.redis_url).port) == ("valkey", 6379)
    server = parse(settings.objects_url)
    assert server.host == "objects:8333"
    assert "-s3.port=8333" in SERVICES["objects"]["command"]
    [identity] = json.loads((secrets / "seaweedfs.json").read_text())["identities"]
    assert identity["credentials"] == [{"accessKey": server.access_key, "secretKey": server.secret_key}]
    assert f"default_pass = {urlsplit(settings.broker_url).password}" in (secrets / "rabbitmq.conf").read_text()
    assert (secrets / "valkey.conf").read_text() == f"requirepass {urlsplit(settings.redis_url).password}\n"


def test_secrets_are_random_and_closed_to_other_users(secrets: Path) -> None:
    passwords = {urlsplit((secrets / name).read_text().strip()).password for name in ("broker_url", "redis_url")}
    assert all(password and len(password) == 48 for password in passwords)
    assert len(passwords) == 2
    assert secrets.stat().st_mode & 0o077 == 0
    # The containers' users are others than the one who made them.
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in secrets.iterdir())
    assert subprocess.run(["git", "check-ignore", "-q", "compose/secrets/broker_url"], cwd=ROOT).returncode == 0


def test_gateway_is_published_where_it_listens() -> None:
    [published] = SERVICES["gateway"]["ports"]
    environment = DOCKERFILES["gateway.Dockerfile"].environment
    assert published.endswith(":" + environment["PENSTOCK_PORT"])
    assert environment["PENSTOCK_PORT"] == DOCKERFILES["gateway.Dockerfile"].last("EXPOSE")
    assert environment["PENSTOCK_HOST"] == "0.0.0.0"


@pytest.mark.parametrize("name", OURS)
def test_command_is_one_that_there_is(name: str) -> None:
    for command in commands_of(OURS[name]):
        if command[0] == "penstock":
            check_operator_command(command[1:])
        else:
            assert command[:2] == ["python", "-m"]
            assert (ROOT / command[2].replace(".", "/")).with_suffix(".py").is_file()


def commands_of(service: dict[str, Any]) -> Iterator[list[str]]:
    yield [*service.get("entrypoint", []), *service["command"]]
    yield dockerfile(service).command("CMD")
    check = service.get("healthcheck", {}).get("test")
    if check:
        yield check[1:]


def check_operator_command(arguments: list[str]) -> None:
    """Parse the arguments as the command would; raises UsageError for an unknown command or option."""
    if arguments == ["--help"]:
        return
    with click.Context(operator) as context:
        _, command, rest = operator.resolve_command(context, arguments)
        assert command is not None
        command.make_context(arguments[0], rest, parent=context)


def test_gateway_image_has_all_that_it_imports_and_no_model_library(tmp_path: Path) -> None:
    DOCKERFILES["gateway.Dockerfile"].lay_out(tmp_path)
    lines = (ROOT / "requirements" / "gateway.txt").read_text().splitlines()
    installed = closure(line for line in lines if line and not line.startswith("#"))
    absent = [
        module
        for module, packages in importlib.metadata.packages_distributions().items()
        if not installed & {canonicalize_name(package) for package in packages}
    ]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({absent!r}))  # None: importing it fails\n"
        "import commands, gateway.app, gateway.serve, tasks.serve, tasks.health, models.catalog, "
        "tasks.scoring.driving"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True)
    assert "torch" in absent
    assert not installed & {"torch", "onnxruntime", "onnxruntime-gpu", "openvino"}


def closure(requirements: Iterator[str]) -> set[str]:
    """Names of everything that pip would install for these, as far as it is installed here."""
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        for extra in ("", *requirement.extras):
            key = (canonicalize_name(requirement.name), extra)
            if key in found:
                continue
            found.add(key)
            try:
                texts = importlib.metadata.requires(requirement.name) or []
            except importlib.metadata.PackageNotFoundError:
                continue
            inner = [Requirement(text) for text in texts]
            waiting += [one for one in inner if one.marker is None or one.marker.evaluate({"extra": extra})]
    return {name for name, _ in found}
