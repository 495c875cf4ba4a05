"""How every process logs: constant sentences with structured fields, as text or as JSON lines on stderr."""

import json
import logging
import sys
from typing import Any

from settings import Settings

#: What a log record has of its own; everything else came in through `extra`.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "data"}


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _OWN}


class TextFormatter(logging.Formatter):
    """`12:00:00.000 info  worker  executor ready  model=echo device=cpu:0`; newlines in values are escaped."""

    def __init__(self, process: str) -> None:
        super().__init__("%(asctime)s.%(msecs)03d %(levelname)s", datefmt="%H:%M:%S")
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={one_line(value)}" for name, value in fields_of(record).items())
        text = (
            f"{self.formatTime(record, self.datefmt)}.{int(record.msecs):03d} {record.levelname.lower():<7} "
            f"{self._process:<12} {one_line(record.getMessage())}{fields}"
        )
        return text + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


class JsonFormatter(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def one_line(value: object) -> str:
    """A value that cannot begin a log line of its own."""
    return str(value).replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def configure(settings: Settings, process: str) -> None:
    """Send the root logger to stderr in the form the settings ask for."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter((JsonFormatter if settings.log_format == "json" else TextFormatter)(process))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    # These tell of their own housekeeping at info.
    for name in ("celery", "kombu", "amqp", "_granian", "urllib3"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
