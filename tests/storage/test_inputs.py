"""What a scoring may read, and as which version."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from errors import InvalidInput, NotFound, SettingsError
from settings import Settings
from storage.inputs import Buckets, opened, uploaded, wildcard
from storage.objects import Stat, open_objects
from storage.s3 import S3
from storage.s3server import parse

OBJECTS = "s3://key:secret@127.0.0.1:9/farm?secure=false"


def buckets(allowed: str, url: str = OBJECTS) -> Buckets:
    return Buckets(Settings(objects_url=url, scoring_buckets=allowed))


def test_upload_is_known_by_its_version(tmp_path: Path) -> None:
    objects = open_objects(f"file://{tmp_path}")
    objects.put("acme/objects/one", [b"12345"])
    part = uploaded(objects, "acme/objects/one")
    stat = objects.stat("acme/objects/one")
    assert stat is not None
    assert (part.uri, part.bytes, part.etag) == ("acme/objects/one", 5, stat.etag)
    with pytest.raises(NotFound):
        uploaded(objects, "acme/objects/two")


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("s3://other/rows.csv", "PENSTOCK_SCORING_BUCKETS"),
        ("s3://farm/acme/objects/x", "PENSTOCK_SCORING_BUCKETS"),
        ("s3://lake/private/rows.csv", "PENSTOCK_SCORING_BUCKETS"),
        ("s3://lake/*/rows.csv", "PENSTOCK_SCORING_BUCKETS"),
        ("s3://lake", "must be s3://bucket/key"),
        ("https://lake/rows.csv", "must be s3://bucket/key"),
        ("s3://lake/public/../private", "object key"),
    ],
)
def test_what_is_not_opened_is_refused(uri: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        buckets("lake/public/, farm").parts(uri)


def test_buckets_need_an_s3_store(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="upload the file instead"):
        buckets("lake", f"file://{tmp_path}").parts("s3://lake/rows.csv")


def test_setting_that_names_no_bucket_is_refused() -> None:
    assert opened(" lake, s3://sea/2024/ ,") == (("lake", ""), ("sea", "2024/"))
    with pytest.raises(SettingsError, match="Lake!"):
        opened("lake, Lake!")
    with pytest.raises(SettingsError, match="'lake/team-a' does not end in /"):
        opened("sea, lake/team-a")


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("a/*.csv", ["a/x.csv", "a/.csv"], ["a/b/x.csv", "a/xcsv"]),
        ("a/**/x.csv", ["a/x.csv", "a/b/c/x.csv"], ["b/x.csv"]),
        ("a/part-?[0-3].csv", ["a/part-01.csv"], ["a/part-09.csv", "a/part-/1.csv"]),
        ("[!a]x", ["bx"], ["ax"]),
        ("[^]x", ["^x"], ["ax"]),
        ("(a|b)", ["(a|b)"], ["a"]),
        ("a[b", ["a[b"], ["ab"]),
    ],
)
def test_wildcards_match_within_one_name(pattern: str, matching: list[str], other: list[str]) -> None:
    expression = wildcard(pattern)
    assert [name for name in (*matching, *other) if expression.fullmatch(name)] == matching


def test_many_wildcards_take_no_longer_than_one() -> None:
    expression = wildcard("a/" + "**/" * 390 + "***x.csv")
    assert expression.pattern == wildcard("a/**/**x.csv").pattern
    assert not expression.fullmatch("a/y=2026/m=11/d=21/h=1/part.csv")
    with pytest.raises(InvalidInput, match="4 of"):
        wildcard("a/*b*c*d*e*")


def test_pattern_is_held_against_so_many_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.inputs.MAX_KEYS", 3)
    monkeypatch.setattr(S3, "stats", lambda self, prefix: ((f"day/{n}.txt", Stat(1, "e")) for n in range(9)))
    with pytest.raises(InvalidInput, match="more than 3 objects begin so"):
        buckets("lake").parts("s3://lake/day/*.csv")


@pytest.fixture
def lake(objects_url: str) -> Iterator[S3]:
    store = S3(dataclasses.replace(parse(objects_url), bucket="lake"))
    store.delete_prefix("")
    yield store
    store.delete_prefix("")


@pytest.mark.service
def test_objects_that_match_are_parts_in_the_order_of_their_names(lake: S3, objects_url: str) -> None:
    for name in ("day/2.csv", "day/1.csv", "day/old/0.csv", "day/1.txt"):
        lake.put(name, [name.encode()])
    found = buckets("lake/day/", objects_url).parts("s3://lake/day/*.csv")
    assert [part.uri for part in found] == ["s3://lake/day/1.csv", "s3://lake/day/2.csv"]
    (one,) = buckets("lake", objects_url).parts("s3://lake/day/1.csv")
    assert one == found[0]
    store, key = buckets("lake", objects_url).open(one.uri)
    assert b"".join(store.open(key, etag=one.etag)) == b"day/1.csv"


@pytest.mark.service
@pytest.mark.parametrize("uri", ["s3://lake/nothing.csv", "s3://lake/no/*.csv", "s3://sea/x.csv", "s3://sea/*"])
def test_nothing_to_read_is_refused(uri: str, lake: S3, objects_url: str) -> None:
    lake.ready()
    with pytest.raises(InvalidInput, match="no such object"):
        buckets("lake, sea", objects_url).parts(uri)
