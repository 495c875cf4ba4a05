"""URLs by which somebody could try to reach what is not theirs, and what a resolver could answer to help them.

Forms as they are collected in OWASP's Server Side Request Forgery Prevention Cheat Sheet, in RFC 3986 section 7, in
RFC 6890's registries, and in the documentation of the clouds' metadata services.
"""

from collections.abc import Iterator

#: One address of each network that is not the public internet, its edges included.
ADDRESSES_4 = (
    "0.0.0.0", "0.0.0.1", "0.255.255.255", "10.0.0.0", "10.0.0.1", "10.255.255.255", "100.64.0.0", "100.100.100.200",
    "100.127.255.255", "127.0.0.1", "127.0.0.53", "127.1.2.3", "127.255.255.255", "168.63.129.16", "169.254.0.0",
    "169.254.0.23", "169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.255.255", "172.16.0.0",
    "172.17.0.1", "172.31.255.255", "192.0.0.0", "192.0.0.192", "192.0.2.1", "192.31.196.1", "192.52.193.1",
    "192.88.99.1", "192.168.0.0", "192.168.1.1", "192.168.255.255", "192.175.48.1", "198.18.0.1", "198.19.255.255",
    "198.51.100.7", "203.0.113.7", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
)  # fmt: skip
ADDRESSES_6 = (
    "::", "::1", "::2", "::127.0.0.1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:10.0.0.1",
    "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "::ffff:0:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::10.0.0.1", "64:ff9b:1::7f00:1", "64:ff9b:1:fffe::a9fe:a9fe",
    "100::1", "100:0:0:1::1", "2001::1", "2001:0:7f00:1::", "2001:0:4136:e378:8000:63bf:807f:fffe", "2001:2::1",
    "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:7f00:1::1", "2002:a9fe:a9fe::1",
    "2002:a00:1::1", "2002:c0a8:101::", "2620:4f:8000::1", "3fff::1", "3fff:fff::1", "5f00::1", "fc00::1", "fd00::1",
    "fd00:ec2::254", "fd20:ce::254", "fdff:ffff::1", "fe80::1", "fe80::a9fe:a9fe", "fec0::1", "ff01::1", "ff02::1",
    "ff05::1:3", "ffff::1",
)  # fmt: skip
#: Hosts that only look like names, or that readers of URLs read differently.
HOSTS = (
    "2130706433", "017700000001", "0x7f000001", "0x7f.1", "0x7f.0.0.1", "0X7F.0.0.1", "0177.0.0.1", "0177.1",
    "127.1", "127.0.1", "127.0.0.01", "127.000.000.001", "00127.0.0.1", "127.0.0.0x1", "10.1", "3232235777",
    "2852039166", "0xa9fea9fe", "0xa9.0xfe.0xa9.0xfe", "0251.0376.0251.0376", "0251.254.169.254", "025177524776",
    "169.254.43518", "169.16689662", "256.256.256.256", "127.0.0.1.", "127.0.0.1.1", "1.2.3.4.5", "0", "00", "0x",
    "0x0", "1", "-1", "4294967296", "99999999999999999999", "[::]", "[0:0:0:0:0:0:0:1]", "[0000::1]", "[::ffff:0x7f.1]",
    "[::1%25lo]", "[fe80::1%25eth0]", "[::1%lo]", "[fe80::1%eth0]", "[127.0.0.1]", "[localhost]", "[::1", "::1]",
    "::1", "[]", "[::1]]", "[[::1]]", "[v1.fe80]", "localhost", "LOCALHOST", "LocalHost", "localhost.", "a.localhost",
    "localhost.localhost", "127。0。0。1", "127．0．0．1", "１２７.０.０.１", "①②⑦.⓪.⓪.①", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "ｌｏｃａｌｈｏｓｔ", "ⅼocalhost",
    "localhost\u200b", "local\u00adhost", "loca\u200dlhost", "%6c%6f%63%61%6c%68%6f%73%74",
    "127%2e0%2e0%2e1", "127.0.0.1%00.example.com", "127.0.0.1%2523", "example.com%00.evil.example", "ex ample.com",
    "exam\tple.com", "example.com\r\nX: y", "example.com\n", "\nexample.com", " example.com", "example.com ", ".",
    "..", ".example.com", "example..com", "example.com..", "-example.com", "example-.com", "*.example.com",
    "exam*ple.com", "{example}.com", "example,com", "example;com", "a" * 64 + ".com", "a." * 130 + "com", "",
    "ex\x00ample.com", "ex\x7fample.com", "example.com\\@127.0.0.1", "example.com\\.evil.example", "127.0.0.1\\@a.com",
)  # fmt: skip
#: Whole URLs.
URLS = (
    "https://example.com@127.0.0.1/", "https://127.0.0.1@example.com/", "https://user:pass@example.com/",
    "https://@example.com/", "https://:@example.com/", "https://example.com:443@127.0.0.1/",
    "https://example.com%40127.0.0.1/", "https://example.com#@127.0.0.1/", "https://example.com/#x",
    "https://example.com?@127.0.0.1#y", "https:example.com", "https:/example.com/", "https:///example.com/",
    "https:////example.com/", "//example.com/", "///example.com", "/example.com", "example.com", "", " ", "https://",
    "https:\\\\example.com\\", "https:/\\example.com/", "\\\\example.com\\", "https://example.com\\..\\",
    " https://example.com/", "https://example.com/ ", "https://example.com/a b", "https://example.com/\x00",
    "https://example.com/\r\nHost: evil", "https://example.com/\tx", "https://example.com/é",
    "http://example.com/", "HTTP://example.com/", "ftp://example.com/", "file:///etc/passwd", "file://localhost/etc",
    "gopher://127.0.0.1:6379/_FLUSHALL", "dict://127.0.0.1:11211/", "ldap://127.0.0.1/", "tftp://127.0.0.1/",
    "jar:https://example.com!/", "data:text/plain,x", "javascript:alert(1)", "unix:///var/run/docker.sock",
    "https+unix://%2Fvar%2Frun%2Fdocker.sock/", "redis://127.0.0.1/", "amqp://127.0.0.1/", "ws://example.com/",
    "netdoc:///etc/passwd", "php://filter", "https://example.com:22/", "https://example.com:25/",
    "https://example.com:6379/", "https://example.com:5672/", "https://example.com:9000/", "https://example.com:80/",
    "https://example.com:0/", "https://example.com:65536/", "https://example.com:99999/", "https://example.com:-1/",
    "https://example.com:+443/", "https://example.com:4 43/", "https://example.com:443x/", "https://example.com:٤٤٣/",
    "https://example.com:443:443/", "https://example.com:000443/", "https://[::1]:443:1/", "https://[2606::1]x/",
    "https://[2606:4700::1111]@127.0.0.1/", "https://penstock.example/", "https://broker.penstock.example/",
    "https://example.com/" + "a" * 2048,
)  # fmt: skip
#: What a name of the attacker's own may resolve to; each holds an address that spoils the others.
ANSWERS = (
    ("127.0.0.1",), ("10.0.0.5",), ("169.254.169.254",), ("::1",), ("::ffff:127.0.0.1",), ("fd00:ec2::254",),
    ("93.184.215.14", "127.0.0.1"), ("127.0.0.1", "93.184.215.14"), ("93.184.215.14", "fe80::1"),
    ("2606:2800:21f:cb07::1", "::1"), ("93.184.215.14", "2002:7f00:1::"), ("0.0.0.0",), ("::",),
    ("93.184.215.14", "93.184.215.15", "64:ff9b::a9fe:a9fe"), ("168.63.129.16",), ("100.100.100.200",), (),
)  # fmt: skip


def forms() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each URL, and what its name resolves to where it has one."""
    honest = ("93.184.215.14",)
    for address in ADDRESSES_4:
        yield f"https://{address}/hook", (address,)
    for address in ADDRESSES_6:
        yield f"https://[{address}]/hook", (address,)
    for host in HOSTS:
        yield f"https://{host}/hook", honest
    for url in URLS:
        yield url, honest
    for address in (*ADDRESSES_4, *ADDRESSES_6):
        yield "https://innocent.example/hook", (address,)
    for answer in ANSWERS:
        yield "https://innocent.example/hook", answer
