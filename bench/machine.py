"""What a figure depends on beside the code: the machine, and versions."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import onnxruntime
import psutil
import redis
from kombu import Connection

PACKAGES = ("celery", "kombu", "flask", "granian", "redis", "hiredis", "msgspec", "numpy", "tokenizers")


def described() -> dict[str, str]:
    return {
        "processor": processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
    }


def processor() -> str:
    path = Path("/proc/cpuinfo")
    names = [line.partition(": ")[2] for line in path.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions(urls: dict[str, str]) -> dict[str, str]:
    """Of Python, of the packages, and of the servers as they say themselves."""
    found = {"Python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    # The wheel's name tells its build, not its version.
    found["onnxruntime"] = onnxruntime.__version__
    with Connection(urls["PENSTOCK_BROKER_URL"]) as connection:
        connection.connect()
        found["RabbitMQ"] = str(connection.connection.server_properties["version"])
    client = redis.Redis.from_url(urls["PENSTOCK_REDIS_URL"])
    found["Redis"] = str(client.info("server")["redis_version"])
    client.close()
    return found
