"""Models come from where the operator said, by https or from a bucket, within limits."""

import io

import pytest

from errors import FetchError, ObjectsUnavailable, SettingsError
from storage import fetching
from storage.fetching import Limits, bucket, https, server_of
from storage.objects import open_objects
from storage.s3server import parse
from tests.services.ports import free_port
from tests.site import Site

FAR = 10**9


@pytest.fixture
def site(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The site, trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(site.certificate))
    return site


def fetch(url: str, *hosts: str, max_bytes: int = FAR, within_s: float = 60) -> tuple[bytes, list[int | None]]:
    sink, totals, steps = io.BytesIO(), list[int | None](), list[int]()
    limits = Limits(hosts=frozenset(hosts), max_bytes=max_bytes, within_s=within_s)
    https(url, sink, limits, total=totals.append, advance=steps.append)
    assert sum(steps) == len(sink.getvalue())
    return sink.getvalue(), totals


def test_file_of_an_allowed_host_is_fetched(site: Site) -> None:
    assert fetch(site.url("/m.zip"), site.place) == (b"x" * 5000, [5000])


def test_redirect_on_the_same_host_is_followed(site: Site) -> None:
    assert fetch(site.url("/here"), site.place)[0] == b"x" * 5000


@pytest.mark.parametrize(("path", "reason"), [("/away", "leads to another host"), ("/plain", "leads to another host")])
def test_redirect_elsewhere_is_refused(site: Site, path: str, reason: str) -> None:
    with pytest.raises(FetchError, match=reason):
        fetch(site.url(path), site.place, "other.example")
    assert site.asked == [path]


def test_redirects_end(site: Site) -> None:
    with pytest.raises(FetchError, match="redirected more than 5 times"):
        fetch(site.url("/round"), site.place)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://evil.example/m.zip", r"evil\.example is not a host .* names localhost"),
        ("https://localhost.evil.example/", "not a host"),
        ("https://localhost:1/", "localhost:1 is not a host"),
        ("https://localhost@evil.example/", "without user and password"),
        ("http://localhost/m.zip", "by https only, not from http://"),
        ("ftp://localhost/m.zip", "by https only"),
        ("file:///etc/passwd", "by https only"),
        ("https:///m.zip", "https://host/path"),
        ("https://localhost:x/", "Port could not be"),
    ],
)
def test_other_places_are_refused_before_they_are_asked(url: str, reason: str) -> None:
    with pytest.raises(FetchError, match=reason):
        fetch(url, "localhost")


def test_file_that_is_announced_too_large_is_refused(site: Site) -> None:
    with pytest.raises(FetchError, match="has 5000 bytes; at most 4999 are taken"):
        fetch(site.url("/m.zip"), site.place, max_bytes=4999)


def test_file_without_end_is_cut_off(site: Site) -> None:
    with pytest.raises(FetchError, match="at most 10000 are taken"):
        fetch(site.url("/endless"), site.place, max_bytes=10_000)


def test_time_is_capped(site: Site) -> None:
    with pytest.raises(FetchError, match="not there after 0 s"):
        fetch(site.url("/endless"), site.place, within_s=0)


@pytest.mark.parametrize("path", ["/short", "/nothing"])
def test_half_a_file_or_none_is_told(site: Site, path: str) -> None:
    with pytest.raises(FetchError, match=r"cannot be fetched|404 Not Found"):
        fetch(site.url(path), site.place)


def test_host_with_a_certificate_of_nobody_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(FetchError, match="certificate"):
        fetch(site.url("/m.zip"), site.place)


def test_host_that_is_away_is_told() -> None:
    port = free_port()
    with pytest.raises(FetchError, match="cannot be fetched"):
        fetch(f"https://localhost:{port}/m.zip", f"localhost:{port}")


KEY = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}


def test_standard_variables_come_before_the_farms_own_store() -> None:
    own = "s3://a:b@store:9000/bucket?secure=false"
    assert (server_of(own, {}).host, server_of(own, {}).secure) == ("store:9000", False)
    assert server_of(own, KEY).host == "s3.amazonaws.com"
    other = server_of(own, KEY | {"AWS_ENDPOINT_URL": "http://other:1", "AWS_REGION": "eu-1", "AWS_SESSION_TOKEN": "t"})
    assert (other.host, other.secure, other.region, other.session_token) == ("other:1", False, "eu-1", "t")


@pytest.mark.parametrize("env", [{}, KEY | {"AWS_ENDPOINT_URL": "store:9000"}])
def test_bucket_without_a_way_to_log_in_is_told(env: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="AWS_"):
        server_of("", env)


@pytest.mark.parametrize("url", ["s3://B/x", "s3:///x", "s3://bucket", "s3://bucket/"])
def test_address_that_names_no_object_is_told(url: str) -> None:
    with pytest.raises(FetchError, match="s3://bucket/key"):
        fetching.place(url)


@pytest.mark.service
def test_object_of_a_bucket_is_fetched(objects_url: str) -> None:
    open_objects(objects_url).put("packages/m.zip", [b"y" * 5000])
    server, sink, totals = parse(objects_url), io.BytesIO(), list[int | None]()
    limits = Limits(hosts=frozenset(), max_bytes=5000, within_s=60)
    url = f"s3://{server.bucket}/packages/m.zip"
    bucket(url, server, sink, limits, total=totals.append, advance=lambda _: None)
    assert (sink.getvalue(), totals) == (b"y" * 5000, [5000])
    for wrong, limit, reason in (
        (url, 4999, "at most 4999"),
        (url + "x", 5000, "no such bucket or object"),
        ("s3://no-such-bucket/m.zip", 5000, "no such bucket or object"),
    ):
        with pytest.raises(FetchError, match=reason):
            bucket(
                wrong, server, sink, Limits(hosts=frozenset(), max_bytes=limit, within_s=60),
                total=totals.append, advance=lambda _: None,
            )  # fmt: skip


def test_bucket_on_a_server_that_is_away_is_told() -> None:
    server = parse(f"s3://a:b@127.0.0.1:{free_port()}/bucket?secure=false")
    with pytest.raises(ObjectsUnavailable, match=r"s3://bucket/m\.zip: the object store cannot be reached"):
        bucket(
            "s3://bucket/m.zip", server, io.BytesIO(), Limits(hosts=frozenset(), max_bytes=1, within_s=60),
            total=lambda _: None, advance=lambda _: None,
        )  # fmt: skip
