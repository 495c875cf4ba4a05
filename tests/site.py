"""An https server that answers well and badly, with a certificate of its own."""

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Site:
    """Each path answers one thing."""

    certificate: Path
    port: int = 0
    #: What `/m.zip` holds.
    content: bytes = b"x" * 5000
    asked: list[str] = field(default_factory=list)
    #: Headers and body of each POST.
    posted: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    #: Set when `/hang` has sent its first bytes; it hangs until the site ends.
    hangs: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def place(self) -> str:
        return f"localhost:{self.port}"

    def url(self, path: str) -> str:
        return f"https://{self.place}{path}"


class Server(ThreadingHTTPServer):
    def __init__(self, site: Site) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.site = site
        site.port = self.server_address[1]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(site.certificate, site.certificate.with_name("key.pem"))
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what some tests want."""


class Answers(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        site = self.server.site
        site.asked.append(self.path)
        match self.path:
            case "/m.zip":
                self.answer(200, site.content)
            case "/here":
                self.answer(302, Location="/m.zip")
            case "/away":
                self.answer(302, Location="https://other.example/m.zip")
            case "/plain":
                self.answer(302, Location=f"http://{site.place}/m.zip")
            case "/round":
                self.answer(302, Location="/round")
            case "/endless":
                self.begin()
                while True:
                    self.wfile.write(b"x" * 1000)
            case "/short":
                self.begin(5000)
                self.wfile.write(b"x")
            case "/hang":
                self.begin(5000)
                self.wfile.write(b"x")
                site.hangs.set()
                site.ended.wait()
            case "/later":
                self.answer(429, b"not now", **{"Retry-After": "7"})
            case "/teapots":
                self.wfile.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20_000)
            case "/headers":
                self.send_response(200)
                for number in range(20_000):
                    self.send_header(f"X-{number}", "x" * 100)
                self.end_headers()
            case "/silent":
                site.hangs.set()
                site.ended.wait()
            case "/garbage":
                self.wfile.write(b"\x00\xff\r\n" * 100)
            case _:
                self.answer(404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.site.posted.append((dict(self.headers.items()), body))
        self.do_GET()

    def begin(self, length: int | None = None) -> None:
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running(folder: Path) -> Iterator[Site]:
    """A site on a free port of localhost; `SSL_CERT_FILE=site.certificate` makes a client trust it."""
    # A plugin of pytest's, which conftest must not import before pytest does.
    from tests.services.fixtures import unavailable

    if shutil.which("openssl") is None:
        unavailable("openssl is not installed")
    names = ["-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *names]
    command += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    site = Site(folder / "cert.pem")
    server = Server(site)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        site.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
