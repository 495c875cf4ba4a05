"""A private S3 server that checks signatures for real: Ceph's object gateway (RGW) on a one-node cluster.

The gateway is the S3 server that clients see; a monitor and one storage daemon in memory are its disk. The disk
is always asked to stop, also by `kill()`: it saves its memory to `folder` then, and a restart finds the data.
"""

import secrets
import signal
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from tests.services.ports import connect, free_port
from tests.services.process import TAIL_BYTES, Child, Service, StartError

BUCKET = "penstock"
#: Of every Ceph program, run in the service's folder. A client that asked the monitor for its settings forgets the
#: cluster's id until the monitor's map arrives, and what it sends before is refused ("wrong fsid").
OPTIONS = ("-c", "ceph.conf", "--no-mon-config")


@dataclass(frozen=True)
class Ceph(Service):
    port: int
    access_key: str
    secret_key: str

    @property
    def url(self) -> str:
        return self.bucket_url(BUCKET)

    def bucket_url(self, bucket: str) -> str:
        """For `open_objects`; the bucket need not exist yet."""
        return f"s3://{self.access_key}:{self.secret_key}@127.0.0.1:{self.port}/{bucket}?secure=false"

    def kill(self) -> None:
        """Kill the S3 server; nothing may kill its disk, which lives in memory."""
        self.stop()


def ceph_service(folder: Path) -> Ceph:
    """An S3 server with its data in `folder`, not started yet."""
    folder = folder.resolve()
    for name in ("mon", "osd", "rgw"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    mon_port, port, fsid = free_port(), free_port(), str(uuid.uuid4())
    access_key, secret_key = secrets.token_hex(8), secrets.token_hex(16)
    (folder / "ceph.conf").write_text(config(folder, fsid=fsid, mon_port=mon_port, port=port))
    osd_id = str(uuid.uuid4())
    mon = Child(
        daemon("ceph-mon", "-i", "a"),
        log=folder / "mon.log",
        prepare=lambda: make_monitor(folder, fsid, mon_port),
        probe=lambda: connect(mon_port),
    )
    osd = Child(
        daemon("ceph-osd", "-i", "0"),
        log=folder / "osd.log",
        prepare=lambda: make_disk(folder, osd_id),
        # Its clients wait for it by themselves.
        probe=lambda: None,
    )
    rgw = Child(
        daemon("radosgw", "--id", "rgw"),
        log=folder / "rgw.log",
        prepare=lambda: make_user(folder, access_key, secret_key),
        probe=lambda: connect(port),
        # Asked to stop it takes six seconds; it keeps nothing that could be lost.
        stop_signal=signal.SIGKILL,
    )
    return Ceph(folder, (mon, osd, rgw), port, access_key, secret_key)


def daemon(program: str, *arguments: str) -> list[str]:
    return [program, *OPTIONS, "-f", *arguments]


def make_monitor(folder: Path, fsid: str, port: int) -> None:
    if (folder / "monmap").exists():
        return
    run(folder, "monmaptool", "--create", "--addv", "a", f"v1:127.0.0.1:{port}", "--fsid", fsid, "monmap")
    run(folder, "ceph-mon", *OPTIONS, "--mkfs", "-i", "a", "--monmap", "monmap")


def make_disk(folder: Path, osd_id: str) -> None:
    if (folder / "osd" / "ready").exists():
        return
    run(folder, "ceph", *OPTIONS, "osd", "new", osd_id)
    run(folder, "ceph-osd", *OPTIONS, "-i", "0", "--mkfs", "--osd-uuid", osd_id)


def make_user(folder: Path, access_key: str, secret_key: str) -> None:
    done = folder / "user"
    if done.exists():
        return
    keys = [f"--access-key={access_key}", f"--secret-key={secret_key}"]
    run(folder, "radosgw-admin", *OPTIONS, "user", "create", "--uid=penstock", "--display-name=penstock", *keys)
    done.touch()


def run(folder: Path, *argv: str) -> None:
    """Run a command that sets something up; raises StartError with its output when it fails."""
    try:
        subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True, timeout=30)
    except subprocess.CalledProcessError as error:
        raise StartError(f"{argv[0]} failed:\n{error.stderr[-TAIL_BYTES:]}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StartError(f"{argv[0]} failed: {error}") from error


def config(folder: Path, *, fsid: str, mon_port: int, port: int) -> str:
    """ceph.conf for one host without authentication between the daemons.

    The short intervals are what makes it start in one second: by default a change of the cluster's maps waits a
    second for others to join it, and a client looks again for its disk every five seconds.
    """
    return f"""[global]
fsid = {fsid}
monmap = {folder}/monmap
mon_initial_members = a
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_msgr2 = false
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
mon_data = {folder}/mon
osd_data = {folder}/osd
rgw_data = {folder}/rgw
run_dir = {folder}
crash_dir = {folder}
keyring = {folder}/keyring
admin_socket =
pid_file =
log_file = /dev/null
log_to_stderr = true
mon_cluster_log_to_file = false
mon_data_avail_crit = 1
mon_allow_pool_size_one = true
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
objecter_tick_interval = 0.1
osd_objectstore = memstore
memstore_device_bytes = 8589934592
osd_fast_shutdown = false
osd_crush_chooseleaf_type = 0
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pg_autoscale_mode = off
rgw_frontends = beast endpoint=127.0.0.1:{port}
rgw_lc_debug_interval = 5
"""
