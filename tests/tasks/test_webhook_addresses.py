"""Webhooks go where they may, and nowhere else: not one connection is tried to what a hostile URL is after."""

import ipaddress
import sys
from collections.abc import Iterator

import pytest

from errors import InvalidInput, SettingsError, TargetRefused, Unreachable
from settings import Settings
from tasks.webhooks.addresses import Address, Policy, check_url, local, public, read
from tasks.webhooks.sending import post
from tests.tasks.hostile import ADDRESSES_4, ADDRESSES_6, forms

#: As in production, with names that stand for the farm's own.
POLICY = Policy(ours=frozenset({"penstock.example", "broker.penstock.example"}))
FORMS = list(forms())
_tried: list[object] | None = None


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if _tried is not None and event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        _tried.append((event, arguments))


# The interpreter itself tells of every connection, whichever library makes it. Such a hook stays for good.
sys.addaudithook(_note)


@pytest.fixture
def tried() -> Iterator[list[object]]:
    global _tried
    _tried = []
    yield _tried
    _tried = None


def test_table_of_hostile_forms_is_long() -> None:
    assert len(set(FORMS)) >= 300


@pytest.mark.parametrize(("url", "answers"), FORMS, ids=range(len(FORMS)))
def test_hostile_form_is_never_connected_to(url: str, answers: tuple[str, ...], tried: list[object]) -> None:
    addresses = [ipaddress.ip_address(answer) for answer in answers]
    with pytest.raises((TargetRefused, Unreachable)) as raised:
        post(url, {}, b"{}", policy=POLICY, resolve=lambda _host, _port: addresses)
    assert tried == []
    # Only a name without any address is no matter of refusal.
    assert isinstance(raised.value, TargetRefused) or not answers
    assert raised.value.detail


def test_name_that_resolves_differently_the_second_time_gains_nothing(tried: list[object]) -> None:
    answers = iter(["127.0.0.1", "93.184.215.14"])
    asked = []

    def rebinding(host: str, _port: int) -> list[Address]:
        asked.append(host)
        return [ipaddress.ip_address(next(answers))]

    with pytest.raises(TargetRefused, match=r"rebind\.example is 127\.0\.0\.1"):
        post("https://rebind.example/", {}, b"{}", policy=POLICY, resolve=rebinding)
    assert asked == ["rebind.example"]
    assert tried == []


@pytest.mark.parametrize("address", [*ADDRESSES_4, *ADDRESSES_6])
def test_special_address_is_not_public(address: str) -> None:
    assert not public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "93.184.215.14", "99.255.255.255", "100.128.0.0", "172.32.0.0", "2606:4700::1111"]
)
def test_address_of_the_internet_is_public(address: str) -> None:
    assert public(ipaddress.ip_address(address))


def test_public_address_of_this_machine_is_the_farm_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.webhooks.addresses.local", lambda _address: True)
    with pytest.raises(InvalidInput, match="is the farm itself"):
        check_url("https://1.1.1.1/", POLICY)


def test_machine_knows_its_own_addresses() -> None:
    assert local(ipaddress.ip_address("127.0.0.1"))
    assert not local(ipaddress.ip_address("93.184.215.14"))


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "authority"),
    [
        ("https://erp.example/hook?a=%20b", "erp.example", 443, "/hook?a=%20b", "erp.example"),
        ("HTTPS://ERP.Example", "erp.example", 443, "/", "erp.example"),
        ("https://erp.example:8443?x=1", "erp.example", 8443, "/?x=1", "erp.example:8443"),
        ("https://bücher.example/", "xn--bcher-kva.example", 443, "/", "xn--bcher-kva.example"),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443, "/", "xn--bcher-kva.example"),
        ("https://[2606:4700:0::1111]:8443/", "2606:4700::1111", 8443, "/", "[2606:4700::1111]:8443"),
        ("https://1.1.1.1/", "1.1.1.1", 443, "/", "1.1.1.1"),
        ("https://my_app.example/a;b=c/@x:y", "my_app.example", 443, "/a;b=c/@x:y", "my_app.example"),
    ],
)
def test_honest_url_is_read(url: str, host: str, port: int, path: str, authority: str) -> None:
    target = check_url(url, POLICY)
    assert (target.host, target.port, target.path, target.authority) == (host, port, path, authority)


def test_error_says_where_and_what_to_do() -> None:
    with pytest.raises(InvalidInput) as raised:
        check_url("https://10.0.0.5/", POLICY, pointer="#/url")
    assert raised.value.faults[0].pointer == "#/url"
    assert "PENSTOCK_WEBHOOK_ALLOW" in raised.value.detail


def test_operator_allows_a_network_and_a_port() -> None:
    policy = Policy.from_settings(Settings(webhook_allow="10.1.2.0/24, fd12::/16", webhook_ports="443, 8000-8010"))
    assert check_url("https://10.1.2.3:8005/", policy).port == 8005
    assert check_url("http://[fd12::1]:8000/", policy).scheme == "http"
    for url in ("https://10.1.3.3/", "https://10.1.2.3:8011/", "https://[::ffff:10.1.2.3]/", "https://[fd13::1]/"):
        with pytest.raises(InvalidInput):
            check_url(url, policy)


@pytest.mark.parametrize("wrong", ["10.1.2.3/24", "erp.example", "10.0.0.0/33"])
def test_network_that_cannot_be_read_stops_the_start(wrong: str) -> None:
    with pytest.raises(SettingsError, match="PENSTOCK_WEBHOOK_ALLOW"):
        Policy.from_settings(Settings(webhook_allow=wrong))


@pytest.mark.parametrize("wrong", ["0", "https", "9-8", "1-65536", "443;80"])
def test_port_that_cannot_be_read_stops_the_start(wrong: str) -> None:
    with pytest.raises(SettingsError, match="PENSTOCK_WEBHOOK_PORTS"):
        Policy.from_settings(Settings(webhook_ports=wrong))


def test_target_is_shown_without_its_query() -> None:
    assert str(read("https://erp.example/hook?token=secret")) == "https://erp.example/hook"
