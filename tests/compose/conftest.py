"""The secrets of the compose file, made as an operator makes them."""

import subprocess
from pathlib import Path

import pytest

from tests.compose.dockerfile import ROOT


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compose") / "secrets"
    command = ["make", "--silent", "--file", "compose/compose.mk", f"SECRETS={folder}", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True)
    return folder
