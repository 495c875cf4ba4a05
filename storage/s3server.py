"""Where an S3 bucket is, read from its URL, and the client for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

import urllib3
from minio import Minio
from minio.helpers import check_bucket_name

from errors import SettingsError

#: A connection on a private network takes milliseconds; a second means that nobody is there.
CONNECT_S = 1.0
#: Answers worth one more try at once. A read that timed out is not: the caller waits for four seconds at most.
RETRIES = urllib3.Retry(total=1, connect=1, read=0, redirect=0, status=1, status_forcelist=(500, 502, 503, 504))
#: Connections kept open; requests beyond it open their own.
POOL = 64
OPTIONS = frozenset({"secure", "region", "timeout_s", "public"})


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where a bucket is and how to log in."""

    host: str
    bucket: str
    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    secure: bool = True
    region: str = "us-east-1"
    timeout_s: float = 3.0
    #: Where clients reach it, as `https://host`; empty: at the same address; None: they do not.
    public: str | None = ""


def client(server: Server, host: str, *, secure: bool) -> Minio:
    pool = urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=CONNECT_S, read=server.timeout_s), maxsize=POOL, retries=RETRIES
    )
    return Minio(
        host,
        access_key=server.access_key,
        secret_key=server.secret_key,
        session_token=server.session_token,
        secure=secure,
        # Known beforehand: else every process asks for the bucket's region first.
        region=server.region or None,
        http_client=pool,
    )


def signer(server: Server, own: Minio) -> Minio | None:
    """The client that signs URLs: its host is part of what is signed."""
    if not server.public:
        return None if server.public is None else own
    public = urlsplit(server.public)
    return client(server, public.netloc, secure=public.scheme == "https")


def parse(url: str) -> Server:
    """Raises SettingsError for a URL that is not `s3://key:secret@host:port/bucket?options`."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    bucket = parts.path.strip("/")
    try:
        check_bucket_name(bucket, strict=True)
        public = options.get("public", "")
        server = Server(
            host=parts.netloc.rpartition("@")[2],
            bucket=bucket,
            access_key=unquote(parts.username or ""),
            secret_key=unquote(parts.password or ""),
            secure=flag(options, "secure", True),
            region=options.get("region", "us-east-1"),
            timeout_s=float(options.get("timeout_s", 3.0)),
            public=None if public == "none" else public,
        )
        if unknown := set(options) - OPTIONS:
            raise ValueError(f"unknown option {min(unknown)}; there are {', '.join(sorted(OPTIONS))}")
        if not (server.access_key and server.secret_key):
            raise ValueError("key and secret are missing")
        return server
    except ValueError as error:
        # Not the URL itself: it holds the secret.
        raise SettingsError(f"PENSTOCK_OBJECTS_URL must be s3://key:secret@host:port/bucket: {error}") from error


def flag(options: Mapping[str, str], name: str, default: bool) -> bool:
    text = options.get(name, str(default)).lower()
    if text not in ("true", "false"):
        raise ValueError(f"{name} is true or false")
    return text == "true"
