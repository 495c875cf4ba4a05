"""Look for the servers that the tests need: `python -m tests.services.install`.

As root on Debian or Ubuntu it installs what is missing; elsewhere it says in one sentence what to install.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

#: The programs that must be on the PATH, and the Debian package of each.
PACKAGES = {
    "rabbitmq-server": "rabbitmq-server",
    "epmd": "erlang-base",
    "redis-server": "redis-server",
    "ceph-mon": "ceph-mon",
    "ceph-osd": "ceph-osd",
    "ceph-mgr": "ceph-mgr",
    "ceph": "ceph-common",
    "monmaptool": "ceph-base",
    "radosgw": "radosgw",
    "radosgw-admin": "radosgw",
}
#: What single tests need, which are skipped without it.
EXTRAS = {"node": "nodejs", "npm": "npm"}
#: RabbitMQ's script stands in sbin, which an ordinary user's PATH leaves out.
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
INSTALL = ["apt-get", "install", "-y", "-q", "--no-install-recommends"]
#: The script that invoke-rc.d asks whether a package may start its server, and its answer for no.
POLICY = Path("/usr/sbin/policy-rc.d")
FORBIDDEN = 101


def missing_packages(programs: Mapping[str, str] = PACKAGES) -> list[str]:
    path = os.pathsep.join([os.environ.get("PATH", ""), SBIN])
    return sorted({package for program, package in programs.items() if shutil.which(program, path=path) is None})


def missing_sentence(programs: Mapping[str, str] = PACKAGES) -> str | None:
    """What is missing and how to get it, or None."""
    packages = missing_packages(programs)
    return sentence(packages) if packages else None


def sentence(packages: Sequence[str]) -> str:
    names = " ".join(packages)
    command = f"sudo apt-get install --no-install-recommends {names}"
    return f"The tests need these Debian packages: {names}; get them with: {command}"


def can_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(packages: Sequence[str]) -> None:
    """Raises CalledProcessError when apt-get fails."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with nothing_starts():
        for command in (["apt-get", "update", "-q"], [*INSTALL, *packages]):
            subprocess.run(command, env=env, check=True)


@contextmanager
def nothing_starts(policy: Path = POLICY) -> Iterator[None]:
    """Forbid packages to start their servers meanwhile, unless the machine has a policy of its own."""
    if policy.exists():
        yield
        return
    policy.write_text(f"#!/bin/sh\nexit {FORBIDDEN}\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


def main() -> int:
    packages = missing_packages(PACKAGES | EXTRAS)
    if not packages:
        return 0
    if not can_install():
        print(sentence(packages), file=sys.stderr)
        return 1 if missing_packages() else 0
    # What single tests need goes by itself: where it cannot be had, the servers can.
    for packages in filter(None, (missing_packages(), missing_packages(EXTRAS))):
        try:
            install(packages)
        except subprocess.CalledProcessError as error:
            print(f"{sentence(packages)} (apt-get failed with code {error.returncode})", file=sys.stderr)
            return 1 if missing_packages() else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
