"""Bytes made wrong in ways that find faults in parsers: flipped, cut, doubled, spliced, words they stumble on."""

from random import Random

#: What parsers of HTTP, JSON, multipart and URLs are known to stumble on.
WORDS = (
    b"\x00", b"\xff\xfe", b"\xc3\x28", b"\r\n", b"\n", b"\r\n\r\n", b"%00", b"%", b"%2e%2e/", b"../", b"\\", b'"', b"'",
    b"{", b"}", b"[", b"]", b"[" * 500, b'{"a":' * 500, b",", b":", b"null", b"true", b"NaN", b"Infinity", b"-0",
    b"1e400", b"-1e400", b"9" * 400, b"0x10", b"18446744073709551616", b"-1", b"\\u0000", b"\\ud800", b"\\",
    "\u202e\u0000é💧".encode(), b"A" * 4096, b"b64", b'{"b64":"!"}', b'{"object":"../x"}', b"Content-Length: 5\r\n",
    b"Content-Length: -1\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"FFFFFFFFFFFFFFFF\r\n",
    b"Content-Encoding: gzip\r\n", b"Expect: 100-continue\r\n", b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"Prefer: wait=0\r\n", b"Idempotency-Key: a\r\n", b"--", b"boundary", b"; charset=utf-7", b"?limit=1&limit=x",
    b"?cursor=%ff", b"?wait=1e9", b"?status=%00", b"&metadata.=", b"#", b"{{7*7}}", b"${7*7}", b"' or 1=1--",
)  # fmt: skip


def mutated(data: bytes, random: Random, *, most: int = 6) -> bytes:
    """`data` with a few things wrong."""
    for _ in range(random.randint(1, most)):
        at = random.randint(0, len(data))
        upto = min(len(data), at + random.randint(1, 32))
        match random.randrange(6):
            case 0:
                data = data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]
            case 1:
                data = data[:at] + data[upto:]
            case 2:
                data = data[:at] + data[at:upto] * random.randint(2, 20) + data[upto:]
            case 3:
                data = data[:at] + random.choice(WORDS) + data[at:]
            case 4:
                other = random.randint(0, len(data))
                data = data[:at] + data[other : other + 64] + data[at:]
            case _:
                data = data[:at] if random.random() < 0.2 else data[:at] + random.choice(WORDS) + data[upto:]
    return data
