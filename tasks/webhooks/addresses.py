"""Where a webhook may go: which URLs are taken, and which addresses are connected to.

A URL comes from whoever submits a job, the connection from inside the operator's network: without a check that is a
way to every server there (server-side request forgery). So a URL is read by one strict grammar, its name is resolved
once, and each address found must be one of the public internet, or one that the operator allowed.

The networks that are not public are those of IANA's special-purpose registries (RFC 6890 and its updates:
iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry), and multicast.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

import idna

from errors import Fault, InvalidInput, SettingsError, TargetRefused
from settings import Settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL_BYTES = 2048
DEFAULT_PORTS = {"https": 443, "http": 80}

_NOT_PUBLIC_4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
            "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
            "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
            # Public by its number, and yet Azure's own channel into each of its machines.
            "168.63.129.16/32",
        ),
    )
)  # fmt: skip
#: Only this part of IPv6 is given out for unicast on the internet; mapped, NAT64, unique local, link-local and
#: multicast addresses all lie outside of it.
_UNICAST_6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    # Teredo, ORCHID and other protocols' own; documentation; 6to4, which carries an IPv4 address; documentation.
    map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"))
)
_LABEL = r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
#: What `inet_aton` would read as an address: 127.1, 0x7f000001, 017700000001.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PRINTABLE = re.compile(r"[!-\[\]-~]+")


@dataclass(frozen=True)
class Target:
    """A URL, read."""

    scheme: str
    #: A name in ASCII, or an address without brackets.
    host: str
    port: int
    #: Path and query, as the request line has them.
    path: str

    @property
    def literal(self) -> Address | None:
        """The address, where the URL names one."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return ipaddress.IPv4Address("127.0.0.1")
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    @property
    def authority(self) -> str:
        """The `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        """For a log: without the query, which may hold a secret."""
        return f"{self.scheme}://{self.authority}{self.path.partition('?')[0]}"


@dataclass(frozen=True)
class Policy:
    """What the operator allows."""

    #: Networks that are connected to although they are not public; http is allowed there as well.
    allowed: tuple[Network, ...] = ()
    ports: tuple[range, ...] = (range(443, 444), range(8443, 8444))
    #: Names of the farm's own servers.
    ours: frozenset[str] = frozenset()

    @classmethod
    def from_settings(cls, settings: Settings) -> "Policy":
        """Raises SettingsError for a network or a port that cannot be read."""
        urls = (settings.public_url, settings.broker_url, settings.redis_url, settings.objects_url)
        return cls(
            allowed=tuple(network(word) for word in words(settings.webhook_allow)),
            ports=tuple(ports(word) for word in words(settings.webhook_ports)),
            ours=frozenset(host for url in urls if (host := urlsplit(url).hostname)),
        )

    def check(self, target: Target, address: Address) -> None:
        """Raises TargetRefused where `address`, one that the target's name stands for, must not be connected to."""
        if any(address in one for one in self.allowed if one.version == address.version):
            return
        if not public(address):
            raise TargetRefused(f"{target.host} is {address}, which is no public address{_REMEDY}")
        if target.host in self.ours or local(address):
            raise TargetRefused(f"{target.host} is the farm itself{_REMEDY}")
        if target.scheme != "https":
            raise TargetRefused(f"{target.host} is a public address: use https{_REMEDY}")


_REMEDY = " (the operator can allow a network: PENSTOCK_WEBHOOK_ALLOW)"


def check_url(url: str, policy: Policy, *, pointer: str = "#/webhook/url") -> Target:
    """Read a webhook's URL; raises InvalidInput for one that could never be delivered to."""
    try:
        target = read(url)
        if not any(target.port in one for one in policy.ports):
            raise TargetRefused(f"port {target.port} is not allowed (the operator can: PENSTOCK_WEBHOOK_PORTS)")
        if (address := target.literal) is not None:
            policy.check(target, address)
    except TargetRefused as error:
        raise InvalidInput(
            f"this webhook URL cannot be used: {error.detail}", faults=[Fault(pointer, error.detail)]
        ) from error
    return target


def read(url: str) -> Target:
    """Read a URL by the strict grammar; raises TargetRefused.

    Whatever two readers could read differently is refused: user and password, backslashes, blanks, fragments,
    numbers that only some take for an address (RFC 3986 section 7.4).
    """
    if len(url.encode(errors="replace")) > MAX_URL_BYTES:
        raise TargetRefused(f"it is longer than {MAX_URL_BYTES} bytes")
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in DEFAULT_PORTS:
        raise TargetRefused("it must begin with https://")
    end = min((at for mark in "/?#" if (at := rest.find(mark)) >= 0), default=len(rest))
    authority, path = rest[:end], rest[end:]
    if "#" in path:
        raise TargetRefused("it must have no fragment")
    if path and not _PRINTABLE.fullmatch(path):
        raise TargetRefused("its path must be printable ASCII; write other characters as %XX")
    if "@" in authority:
        raise TargetRefused("it must not hold a user or a password; webhooks are signed")
    host, port = split(authority, DEFAULT_PORTS[scheme.lower()])
    return Target(scheme.lower(), host, port, path if path.startswith("/") else "/" + path)


def split(authority: str, default: int) -> tuple[str, int]:
    """Host and port; raises TargetRefused."""
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::([0-9]{1,5}))?", authority)
    if found is None or not 0 < int(found[2] or default) < 65536:
        raise TargetRefused("what follows :// must be a host, and a port where it is not the usual one")
    return hostname(found[1]), int(found[2] or default)


def hostname(text: str) -> str:
    """A name in ASCII, lower case, or an address; raises TargetRefused."""
    try:
        if text.startswith("["):
            return str(ipaddress.IPv6Address(text[1:-1]))
        # IDNA 2008 without UTS 46: what merely looks like ASCII is refused, not turned into it.
        host = text.lower() if text.isascii() else idna.encode(text).decode()
    except ValueError as error:
        raise TargetRefused(f"{text[:100]!r} is no host: {error}") from error
    if not _NAME.fullmatch(host) or len(host) > 253:
        raise TargetRefused(f"{text[:100]!r} is no host")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError as error:
            raise TargetRefused(f"{text[:100]!r} is no host; write an address as four decimal numbers") from error
    return host


def public(address: Address) -> bool:
    """Whether it is a unicast address of the internet."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in one for one in _NOT_PUBLIC_4)
    return address.scope_id is None and address in _UNICAST_6 and not any(address in one for one in _NOT_PUBLIC_6)


def local(address: Address) -> bool:
    """Whether this machine itself has the address: nobody can bind to another's."""
    with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
        return True


def words(text: str) -> Iterable[str]:
    return (word.strip() for word in text.split(",") if word.strip())


def network(word: str) -> Network:
    try:
        return ipaddress.ip_network(word)
    except ValueError as error:
        raise SettingsError(f"PENSTOCK_WEBHOOK_ALLOW: {error}; write networks like 10.1.2.0/24") from error


def ports(word: str) -> range:
    found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", word)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 0 < first <= last < 65536:
        raise SettingsError(f"PENSTOCK_WEBHOOK_PORTS: {word!r} is no port, and no range like 8000-8999")
    return range(first, last + 1)
