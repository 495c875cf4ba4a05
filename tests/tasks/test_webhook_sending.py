"""A webhook over the wire, to receivers that answer well and badly."""

import ipaddress
import socket
import ssl
import threading

import pytest

from errors import Unreachable
from tasks.webhooks import sending
from tasks.webhooks.addresses import Address, Policy
from tasks.webhooks.sending import EXCERPT_BYTES, Answer, post, retry_after_s
from tests.site import Site

POLICY = Policy(allowed=(ipaddress.ip_network("127.0.0.0/8"),), ports=(range(1, 65536),))
HERE: list[Address] = [ipaddress.ip_address("127.0.0.1")]


@pytest.fixture
def site(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The site, trusted."""
    context = ssl.create_default_context(cafile=str(site.certificate))
    monkeypatch.setattr(sending, "tls", lambda: context)
    return site


def send(url: str, *, timeout_s: float = 10.0, resolve: sending.Resolve = lambda _host, _port: HERE) -> Answer:
    return post(
        url, {"webhook-id": "msg_1"}, b'{"type":"job.completed"}', policy=POLICY, timeout_s=timeout_s, resolve=resolve
    )


def test_receiver_gets_body_and_headers_and_its_answer_is_kept(site: Site) -> None:
    answer = send(site.url("/m.zip"))
    assert (answer.status, answer.excerpt) == (200, b"x" * EXCERPT_BYTES)
    assert 0 < answer.latency_ms < 10_000
    ((headers, body),) = site.posted
    assert body == b'{"type":"job.completed"}'
    assert (headers["webhook-id"], headers["Host"]) == ("msg_1", site.place)


def test_name_stands_in_sni_and_certificate_while_the_checked_address_is_connected_to(site: Site) -> None:
    # The certificate is for `localhost`; under another name it is worth nothing.
    with pytest.raises(Unreachable, match="certificate"):
        send(f"https://other.example:{site.port}/m.zip")
    assert site.posted == []


def test_redirect_is_an_answer_and_not_followed(site: Site) -> None:
    assert send(site.url("/here")).status == 302
    assert site.asked == ["/here"]


def test_proxy_of_the_environment_is_not_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert send(site.url("/m.zip")).status == 200


def test_retry_after_is_told(site: Site) -> None:
    answer = send(site.url("/later"))
    assert (answer.status, answer.excerpt, answer.retry_after_s) == (429, b"not now", 7.0)


def test_endless_answer_ends_once_enough_is_known(site: Site) -> None:
    assert send(site.url("/endless")).status == 200


@pytest.mark.parametrize("path", ["/teapots", "/headers", "/garbage"])
def test_answer_that_never_becomes_one_is_given_up(site: Site, path: str) -> None:
    with pytest.raises(Unreachable):
        send(site.url(path))


def test_status_stands_though_the_body_hangs(site: Site) -> None:
    assert send(site.url("/hang"), timeout_s=1.0).status == 200


def test_silent_receiver_is_given_up_in_time(site: Site) -> None:
    with pytest.raises(Unreachable, match="took too long"):
        send(site.url("/silent"), timeout_s=0.5)


def test_name_that_is_not_resolved_in_time_is_given_up(site: Site) -> None:
    never = threading.Event()

    def hang(_host: str, _port: int) -> list[Address]:
        never.wait()
        return HERE

    with pytest.raises(Unreachable, match="took too long"):
        send(site.url("/m.zip"), timeout_s=0.2, resolve=hang)
    never.set()


def test_name_without_address_is_unreachable() -> None:
    def fail(_host: str, _port: int) -> list[Address]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(Unreachable, match="Name or service not known"):
        send("https://nowhere.example/", resolve=fail)


def test_second_address_is_tried_where_the_first_does_not_answer(site: Site) -> None:
    addresses: list[Address] = [ipaddress.ip_address("127.0.0.9"), *HERE]
    assert send(site.url("/m.zip"), resolve=lambda _host, _port: addresses).status == 200


def test_closed_port_is_unreachable() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="refused"):
            send(f"https://localhost:{held.getsockname()[1]}/")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(b"120", 120), (b"Thu, 01 Jan 1970 00:01:40 GMT", 90), (b"Thu, 01 Jan 1970 00:00:00 GMT", 0), (b"soon", None)],
)
def test_retry_after_is_a_number_or_a_date(text: bytes, seconds: float | None) -> None:
    assert retry_after_s({b"Retry-After": text}, now=lambda: 10.0) == seconds
