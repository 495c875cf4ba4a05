"""What a scoring reads: an upload, or objects of buckets that the operator has opened to scorings.

Those buckets are on the object store's own server and are read with its credentials. The farm's own bucket is never
one of them: it holds what other tenants have uploaded.
"""

import dataclasses
import re
from collections.abc import Iterator
from typing import Protocol

from errors import Fault, InvalidInput, NotFound, ObjectsUnavailable, SettingsError
from settings import Settings
from storage.objects import Objects, Stat
from storage.scoring import Part

#: Objects that one scoring may read: their list is part of its record.
MAX_PARTS = 2000
#: Keys that are held against one pattern: a request waits for it.
MAX_KEYS = 100_000
#: `*` and `**` of one key: the time that a name takes grows with that power of its length.
MAX_STARS = 4
WILD = re.compile(r"[*?\[]")
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class Listed(Objects, Protocol):
    """A bucket."""

    def stats(self, prefix: str) -> Iterator[tuple[str, Stat]]: ...


def uploaded(objects: Objects, key: str) -> Part:
    """An upload as a scoring's input, as it is now; raises NotFound, ObjectsUnavailable."""
    found = objects.stat(key)
    if found is None:
        raise NotFound(f"no object {key}")
    return Part(key, found.etag, found.bytes)


class Buckets:
    """The buckets of `Settings.scoring_buckets`. Safe to use from several threads; connects to nothing by itself."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.objects
        self._allowed = opened(settings.scoring_buckets)
        self._stores: dict[str, Listed] = {}

    def parts(self, uri: str) -> tuple[Part, ...]:
        """The objects at `s3://bucket/key`, or sorted those that match a key with `*`, `?` and `[…]`, as they are now.

        `*` stands for anything but `/`, and `**` for that as well. Raises InvalidInput, ObjectsUnavailable.
        """
        bucket, key = split(uri)
        store = self._store(bucket, WILD.split(key, maxsplit=1)[0], uri)
        try:
            found = tuple(self._found(store, bucket, key))
        except NotFound as error:
            raise refused(uri, "there is no such object") from error
        except ObjectsUnavailable as error:
            if getattr(error.__cause__, "code", "") == "AccessDenied":
                raise refused(uri, "the farm's own credentials may not read it") from error
            raise
        if not found:
            raise refused(uri, "there is no such object")
        return found

    def open(self, uri: str) -> tuple[Objects, str]:
        """The store and the key of a part; raises InvalidInput."""
        bucket, key = split(uri)
        return self._store(bucket, key, uri), key

    def _store(self, bucket: str, prefix: str, uri: str) -> Listed:
        if not self._url.startswith("s3://"):
            raise refused(uri, "this farm keeps its objects in a folder, not in S3: upload the file instead")
        # Leaves: an embedded gateway does not pay for the S3 client.
        from storage.s3 import S3
        from storage.s3server import parse

        server = parse(self._url)
        if bucket == server.bucket or not any(
            name == bucket and prefix.startswith(start) for name, start in self._allowed
        ):
            raise refused(uri, "scorings may not read that; the operator opens buckets in PENSTOCK_SCORING_BUCKETS")
        if bucket not in self._stores:
            self._stores[bucket] = S3(dataclasses.replace(server, bucket=bucket))
        return self._stores[bucket]

    def _found(self, store: Listed, bucket: str, key: str) -> Iterator[Part]:
        uri = f"s3://{bucket}/{key}"
        if not WILD.search(key):
            found = store.stat(key)
            if found is not None:
                yield Part(uri, found.etag, found.bytes)
            return
        pattern, count = wildcard(key), 0
        for seen, (name, found) in enumerate(store.stats(WILD.split(key, maxsplit=1)[0])):
            if seen >= MAX_KEYS:
                raise refused(uri, f"more than {MAX_KEYS} objects begin so: say more before the first wildcard")
            if not name.endswith("/") and pattern.fullmatch(name):
                count += 1
                if count > MAX_PARTS:
                    raise refused(uri, f"more than {MAX_PARTS} objects match; score them in several scorings")
                yield Part(f"s3://{bucket}/{name}", found.etag, found.bytes)


def opened(text: str) -> tuple[tuple[str, str], ...]:
    """Bucket and beginning of keys for each entry of the setting; raises SettingsError."""
    entries = [entry.strip().removeprefix("s3://") for entry in text.split(",") if entry.strip()]
    for entry in entries:
        if not BUCKET.fullmatch(entry.partition("/")[0]):
            raise SettingsError(f"PENSTOCK_SCORING_BUCKETS: {entry!r} is not bucket or bucket/prefix/")
        if "/" in entry and not entry.endswith("/"):
            raise SettingsError(f"PENSTOCK_SCORING_BUCKETS: {entry!r} does not end in /: it opens {entry}x as well")
    return tuple((name, start) for name, _, start in (entry.partition("/") for entry in entries))


def split(uri: str) -> tuple[str, str]:
    bucket, slash, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not (bucket and slash and key):
        raise refused(uri, "it must be s3://bucket/key")
    return bucket, key


def wildcard(key: str) -> re.Pattern[str]:
    """A key with wildcards as an expression; raises InvalidInput."""
    # As many in a row say no more than one.
    key = re.sub(r"\*{3,}", "**", key)
    key = re.sub(r"(?:\*\*/)+", "**/", key)
    if len(re.findall(r"\*+", key)) > MAX_STARS:
        raise refused(key, f"a key may have {MAX_STARS} of * and ** at most")
    said = ""
    for sign in re.findall(r"\*\*/?|\*|\?|\[[^\]/]+\]|.", key, re.DOTALL):
        if sign == "**/":
            said += "(?:.*/)?"
        elif sign in ("**", "*", "?"):
            said += {"**": ".*", "*": "[^/]*", "?": "[^/]"}[sign]
        elif len(sign) > 1:
            inner = sign[1:-1].replace("\\", "\\\\").replace("[", "\\[")
            said += f"[{'^' + inner[1:] if inner[0] == '!' else inner.replace('^', chr(92) + '^', 1)}]"
        else:
            said += re.escape(sign)
    try:
        return re.compile(said)
    except re.error as error:
        raise refused(key, f"the wildcards cannot be read: {error}") from error


def refused(uri: str, reason: str) -> InvalidInput:
    return InvalidInput(f"input {uri[:200]!r} cannot be scored: {reason}", faults=[Fault("#/input", reason)])
