"""The environment, read once into a frozen object.

Only `PENSTOCK_*` names count, and a misspelt one is an error at start that names the nearest known
one. A secret may stand in a file: `PENSTOCK_REDIS_URL_FILE=/run/secrets/redis` is read in place of
`PENSTOCK_REDIS_URL`.
"""

import dataclasses
import difflib
import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from errors import SettingsError

PREFIX = "PENSTOCK_"
#: Names that the client and the test suite read: no misspelling here.
FOREIGN = frozenset(
    {
        "PENSTOCK_URL",
        "PENSTOCK_API_KEY",
        "PENSTOCK_HOME",
        "PENSTOCK_TEST_BROKER_URL",
        "PENSTOCK_TEST_REDIS_URL",
        "PENSTOCK_TEST_OBJECTS_URL",
    }
)

#: Least length of a key that signs messages: what can be guessed signs nothing.
SIGNING_KEY_BYTES = 32
#: Longest path of a unix socket, bytes (sockaddr_un.sun_path less its final NUL; 103 on macOS).
SOCKET_PATH_BYTES = 103


def setting(default: Any, doc: str, *, secret: bool = False) -> Any:
    return dataclasses.field(default=default, metadata={"doc": doc, "secret": secret})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is in force. Field `x_y` is read from `PENSTOCK_X_Y`."""

    host: str = setting("127.0.0.1", "address the gateway listens on")
    port: int = setting(8080, "port the gateway listens on")
    data: Path = setting(Path(".penstock"), "folder of the embedded store, objects and logs")
    models: Path = setting(Path("repository"), "the model repository")
    broker_url: str = setting(
        "", "RabbitMQ, `amqp://user:password@host:5672/vhost`; empty: the embedded Valkey", secret=True
    )
    redis_url: str = setting(
        "", "Redis or Valkey, `redis://:password@host:6379/0`; empty: the embedded Valkey", secret=True
    )
    objects_url: str = setting(
        "", "object store, `s3://key:secret@host:9000/bucket` (`?secure=true` for https); empty: a folder", secret=True
    )
    signing_key: str = setting(
        "", "signs the messages in the broker; `new,old` while a key takes over; empty: they are not signed",
        secret=True,
    )  # fmt: skip
    public_url: str = setting("", "address clients reach the gateway at; empty: as they asked for it")
    gateway_processes: int = setting(1, "gateway processes that share the port")
    gateway_threads: int = setting(128, "requests a gateway process handles at once, long polls included")
    max_body_bytes: int = setting(32 * 2**20, "largest request body, uploads excepted")
    max_object_bytes: int = setting(5 * 2**30, "largest upload to `/v1/objects`")
    body_timeout_s: float = setting(30.0, "seconds that a request body may take, and one more for each 16 KiB of it")
    object_ttl_s: int = setting(7 * 86400, "seconds until an uploaded object is erased")
    submit_deadline_s: float = setting(4.0, "seconds until a submit that broker or store cannot take is refused")
    model_hosts: str = setting("", "hosts that `penstock models add https://…` may load from, comma-separated")
    max_model_bytes: int = setting(50 * 2**30, "largest model package that is taken")
    model_fetch_s: float = setting(3600.0, "seconds that loading a model package may take")
    webhook_allow: str = setting("", "networks that webhooks may go to although not public: `10.1.2.0/24, …`")
    webhook_ports: str = setting("443, 8443", "ports that webhooks may go to, and ranges: `443, 8000-8999`")
    scoring_buckets: str = setting(
        "", "buckets that scorings may read by `s3://`, `name` or `name/prefix/`, comma-separated"
    )
    log_level: str = setting("info", "debug, info, warning or error")
    log_format: str = setting("text", "text or json")

    def __post_init__(self) -> None:
        for name, allowed in (("log_level", ("debug", "info", "warning", "error")), ("log_format", ("text", "json"))):
            if getattr(self, name) not in allowed:
                raise SettingsError(f"{env_name(name)} is {getattr(self, name)!r}; use one of {', '.join(allowed)}")
        if bool(self.broker_url) != bool(self.redis_url):
            raise SettingsError("set both PENSTOCK_BROKER_URL and PENSTOCK_REDIS_URL, or neither (embedded)")
        if any(len(key) < SIGNING_KEY_BYTES for key in self.signing_keys):
            raise SettingsError(
                f"each key of PENSTOCK_SIGNING_KEY must have {SIGNING_KEY_BYTES} characters or more, "
                "e.g. of `openssl rand -base64 32`"
            )

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read `PENSTOCK_*` from `env`; raises SettingsError for an unknown name or a value of the wrong kind."""
        fields = {env_name(field.name): field for field in dataclasses.fields(cls)}
        files = {name + "_FILE": name for name, field in fields.items() if field.metadata["secret"]}
        values: dict[str, Any] = {}
        for name in sorted(env):
            if not name.startswith(PREFIX) or name in FOREIGN:
                continue
            text, target = env[name], name
            if name in files:
                text, target = read_secret(name, text), files[name]
            if target not in fields:
                raise SettingsError(unknown_name(name, [*fields, *files]))
            values[fields[target].name] = parse(name, text, fields[target].type)
        return cls(**values)

    @property
    def signing_keys(self) -> tuple[bytes, ...]:
        """The first signs, all are known; none: messages are not signed."""
        return tuple(key.strip().encode() for key in self.signing_key.split(",") if key.strip())

    @property
    def embedded(self) -> bool:
        """True where the bundled Valkey is both store and broker."""
        return not self.broker_url

    @property
    def socket(self) -> Path:
        """The embedded Valkey's unix socket; beside the data, unless the path is too long for a socket."""
        path = self.data.resolve() / "valkey.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
            return path
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"penstock-{os.getuid()}-{digest}.sock"

    @property
    def store_url(self) -> str:
        return self.redis_url or f"unix://{self.socket}"

    @property
    def queue_url(self) -> str:
        """The broker as kombu and Celery read it."""
        return self.broker_url or f"redis+socket://{self.socket}"

    @property
    def objects(self) -> str:
        return self.objects_url or f"file://{self.data.resolve() / 'objects'}"

    def shown(self) -> dict[str, object]:
        """Every setting as `penstock config` prints it: secrets masked."""
        return {
            env_name(field.name): masked(getattr(self, field.name))
            if field.metadata["secret"]
            else plain(getattr(self, field.name))
            for field in dataclasses.fields(self)
        }


def env_name(field: str) -> str:
    return PREFIX + field.upper()


def unknown_name(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"{name} is not a setting of Penstock; did you mean {near[0]}? `penstock config` lists them all"


def read_secret(name: str, path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise SettingsError(f"{name} names a file that cannot be read: {error}") from error


def parse(name: str, text: str, kind: object) -> Any:
    if kind is Path:
        return Path(text)
    if kind in (int, float):
        try:
            number = kind(text)
        except ValueError as error:
            raise SettingsError(f"{name} is {text!r}; it must be a number") from error
        if number < 0:
            raise SettingsError(f"{name} is {text!r}; it must not be negative")
        return number
    return text


def plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def masked(secret: str) -> str:
    """A URL with its user and password (RFC 3986's `userinfo`) and its query replaced; any other secret as a whole."""
    if not secret:
        return secret
    parts = urlsplit(secret)
    if not parts.scheme or "//" not in secret:
        return "***"
    netloc = "***@" + parts.netloc.rpartition("@")[2] if "@" in parts.netloc else parts.netloc
    # A password may stand in the query as well.
    query = "***" if any(word in parts.query for word in ("pass", "secret", "key", "token")) else parts.query
    return urlunsplit(parts._replace(netloc=netloc, query=query))


def table() -> str:
    """All settings as a Markdown table, for `docs/settings.md`."""
    rows = ["| name | default | meaning |", "| --- | --- | --- |"]
    for field in dataclasses.fields(Settings):
        default = plain(field.default)
        shown = f"`{default}`" if default != "" else "(empty)"
        rows.append(f"| `{env_name(field.name)}` | {shown} | {field.metadata['doc']} |")
    return "\n".join(rows) + "\n"
