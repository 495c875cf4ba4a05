"""How every process logs: constant sentences with structured fields, as text or as JSON lines on stderr.

What comes from elsewhere stands in the fields and in tracebacks. So that is made harmless here, once for all: no value
begins a line of its own or moves a terminal's cursor, none is endless, and what looks like a secret is masked.
"""

import json
import logging
import re
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

from settings import Settings

log = logging.getLogger(__name__)

#: What a log record has of its own; everything else came in through `extra`.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "data"}
#: Characters of one value that are shown.
MOST = 4096
#: A secret of the settings that is shorter is no more than a word, and would be masked in every other one.
LEAST_SECRET = 8
#: Control characters, line separators, and those that turn the direction of what follows.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\\]")
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}
#: Secrets as they look anywhere, and what is left of them. None looks beyond a quote, a space or a backslash.
_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(psk_|whsec_)[\w+/=-]{8,}"), r"\1***"),
    (re.compile(r"\b(bearer|basic)( +)[\w.~+/=-]{8,}", re.IGNORECASE), r"\1\2***"),
    (re.compile(r"([a-z][a-z0-9+.-]*://)[^/?#\s'\"\\]*@", re.IGNORECASE), r"\1***@"),
    (re.compile(r"(/v1/links/)[\w.~-]+"), r"\1***"),
    (
        re.compile(
            r"([?&](?:x-amz-(?:signature|credential|security-token)|signature|sig|token|password|passwd|secret|api_?key)=)"
            r"[^&\s'\"\\]+",
            re.IGNORECASE,
        ),
        r"\1***",
    ),
)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _OWN}


class Masking:
    """Masks what looks like a secret, and the secrets of the settings wherever they turn up."""

    def __init__(self, settings: Settings) -> None:
        words = sorted(own_secrets(settings), key=len, reverse=True)
        self._own = re.compile("|".join(map(re.escape, words))) if words else None

    def __call__(self, text: str) -> str:
        if self._own is not None:
            text = self._own.sub("***", text)
        for pattern, left in _SECRETS:
            text = pattern.sub(left, text)
        return text


def own_secrets(settings: Settings) -> set[str]:
    """Signing keys, and the passwords in the servers' URLs, as they are written and as they are sent."""
    found = {key.decode() for key in settings.signing_keys}
    for url in (settings.broker_url, settings.redis_url, settings.objects_url):
        if password := password_of(url):
            found |= {password, unquote(password)}
    return {secret for secret in found if len(secret) >= LEAST_SECRET}


def password_of(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:
        return ""


class TextFormatter(logging.Formatter):
    """`12:00:00.000 info  worker  executor ready  model=echo device=cpu:0`; a traceback's lines begin with a bar."""

    def __init__(self, process: str, mask: Callable[[str], str] = str) -> None:
        super().__init__("%(asctime)s.%(msecs)03d %(levelname)s", datefmt="%H:%M:%S")
        self._process = process
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={one_line(value)}" for name, value in fields_of(record).items())
        text = (
            f"{self.formatTime(record, self.datefmt)}.{int(record.msecs):03d} {record.levelname.lower():<7} "
            f"{self._process:<12} {one_line(record.getMessage())}{fields}"
        )
        if record.exc_info:
            # What an exception says may hold line breaks: no line of it can pass for one of ours.
            lines = self.formatException(record.exc_info).split("\n")
            text += "".join(f"\n  | {one_line(line)}" for line in lines)
        return self._mask(text)


class JsonFormatter(logging.Formatter):
    def __init__(self, process: str, mask: Callable[[str], str] = str) -> None:
        super().__init__()
        self._process = process
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": shortened(record.getMessage()),
            **{
                name: shortened(value) if isinstance(value, str) else value for name, value in fields_of(record).items()
            },
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        # ASCII only: every other character is escaped, those that end a line or turn its direction among them.
        return self._mask(json.dumps(line, default=str, ensure_ascii=True))


def one_line(value: object) -> str:
    """A value that cannot begin a log line of its own, nor do anything to a terminal."""
    return _CONTROL.sub(_escaped, shortened(str(value)))


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    return _NAMED.get(character) or (f"\\x{ord(character):02x}" if character < "\x7f" else f"\\u{ord(character):04x}")


def shortened(text: str) -> str:
    return text if len(text) <= MOST else f"{text[:MOST]}… ({len(text)} characters)"


def short_if_text(value: object) -> object:
    return shortened(value) if isinstance(value, str) else value


def configure(settings: Settings, process: str) -> None:
    """Send the root logger to stderr in the form the settings ask for; what nobody caught goes the same way."""
    handler = logging.StreamHandler(sys.stderr)
    kind = JsonFormatter if settings.log_format == "json" else TextFormatter
    handler.setFormatter(kind(process, Masking(settings)))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    # These tell of their own housekeeping at info.
    for name in ("celery", "kombu", "amqp", "_granian", "urllib3"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    sys.excepthook = tell_of_the_end
    threading.excepthook = tell_of_a_thread


def tell_of_the_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    log.critical("process ends by an error that nobody caught", exc_info=(kind, error, trace))


def tell_of_a_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or issubclass(args.exc_type, SystemExit):
        return
    name = args.thread.name if args.thread else ""
    caught = (args.exc_type, args.exc_value, args.exc_traceback)
    log.critical("thread ends by an error that nobody caught", exc_info=caught, extra={"thread_name": name})
