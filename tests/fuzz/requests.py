"""Requests over bare sockets: good ones, made wrong byte by byte."""

import re
import select
import socket
from random import Random
from typing import NamedTuple

from tests.fuzz.mutating import mutated

#: For one answer, seconds, and until the server is told that no more of the request will come.
PATIENCE_S, PAUSE_S = 5.0, 0.4
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


class Template(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


JSON = {"Content-Type": "application/json"}
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\necho\r\n'
    b'--b\r\nContent-Disposition: form-data; name="x"; filename="a.json"\r\nContent-Type: application/json\r\n\r\n'
    b"[1]\r\n--b--\r\n"
)
ECHO = b'{"model":"echo","inputs":{"x":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]}}'
FULL = (
    b'{"model":"echo","version":"1","inputs":{"x":{"b64":"AAAA"}},"parameters":{"a":1},"priority":"low",'
    b'"queue_ttl_s":600,"timeout_s":60,"deadline":"2030-01-01T00:00:00Z","max_attempts":3,"result_ttl_s":86400,'
    b'"metadata":{"order":"A-17"},"webhook":{"url":"https://erp.example/hook","events":["job.completed"]}}'
)
SCORING = (
    b'{"model":"echo","input":{"objects":["obj_01KDVCY8G00000000000000000"]},"format":"csv","mapping":{"x":["a","b"]},'
    b'"keep":["c"],"max_failed_rows":3,"shard_rows":64,"webhook":{"url":"https://erp.example/hook"},"dry_run":true}'
)


def templates(id: str) -> list[Template]:
    """Good requests; `id`: a job's that there is."""
    return [
        Template("POST", "/v1/jobs", JSON, ECHO),
        Template("POST", "/v1/jobs", JSON | {"Idempotency-Key": "k", "Prefer": "wait=1"}, FULL),
        Template("POST", "/v1/jobs", {"Content-Type": "multipart/form-data; boundary=b"}, FORM),
        Template("POST", "/v1/jobs:batch", JSON, b"[" + ECHO + b"," + FULL + b"]"),
        Template("POST", "/v1/jobs:batch", {"Content-Type": "application/x-ndjson"}, ECHO + b"\n" + FULL + b"\n"),
        Template("POST", f"/v1/jobs/{id}/cancel", JSON, b"{}"),
        Template("POST", f"/v1/jobs/{id}/retry", JSON, b""),
        Template("GET", f"/v1/jobs/{id}?wait=0", {"If-None-Match": '"x"'}, b""),
        Template("GET", f"/v1/jobs/{id}/result", {}, b""),
        Template("GET", f"/v1/jobs/{id}/events", {"Last-Event-ID": "1"}, b""),
        Template("GET", "/v1/jobs?status=queued&model=echo&metadata.a=b&limit=10&cursor=x", {}, b""),
        Template("POST", "/v1/objects", {"Content-Type": "application/octet-stream"}, b"bytes"),
        Template("POST", "/v1/objects:presign", JSON, b'{"bytes":5,"content_type":"text/plain"}'),
        Template("POST", "/v1/uploads", JSON, b'{"bytes":6000000,"part_bytes":5242880}'),
        Template("PUT", "/v1/uploads/WyJhIl0.x/part?number=1", {}, b"bytes"),
        Template("POST", "/v1/uploads/WyJhIl0.x/complete", JSON, b'{"parts":[{"number":1,"etag":"0"}]}'),
        Template("GET", "/v1/objects/obj_x", {"Range": "bytes=0-1"}, b""),
        Template("GET", "/v1/models/echo/versions/1", {}, b""),
        Template("POST", "/v1/models/echo/versions/9/load", JSON, b"{}"),
        Template("GET", "/v1/queues", {}, b""),
        Template("GET", "/v1/dead-letters?model=echo&limit=3", {}, b""),
        Template("POST", "/v1/dead-letters:replay", JSON, b'{"model":"none","dry_run":true}'),
        Template("POST", "/v1/webhooks", JSON, b'{"url":"https://erp.example/hook","events":["job.completed"]}'),
        Template("POST", "/v1/scorings", JSON | {"Idempotency-Key": "k"}, SCORING),
        Template("GET", "/v1/scorings?status=queued&model=echo&limit=10&cursor=x", {}, b""),
        Template("POST", f"/v1/scorings/{id}/retry-failed", JSON, b"{}"),
        Template("DELETE", f"/v1/jobs/{id}x", {}, b""),
        Template("GET", "/metrics", {}, b""),
        Template("GET", "/openapi.json", {}, b""),
    ]


def written(template: Template, key: str, random: Random) -> bytes:
    """The request as bytes, wrong in its head, its path or its body; most keep a length that fits."""
    path, body = template.path.encode(), template.body
    where = random.randrange(4)
    if where == 0:
        path = b"/" + re.sub(rb"[ \r\n]", b"", mutated(path[1:], random))
    if where == 1 or random.random() < 0.3:
        body = mutated(body, random)
    headers = {"Host": "penstock", "Authorization": f"Bearer {key}", "Connection": "close"} | template.headers
    if body or template.method != "GET":
        headers["Content-Length"] = str(len(body))
    lines = [b"%s: %s" % (name.encode(), value.encode()) for name, value in headers.items()]
    head = b"%s %s HTTP/1.1\r\n%s" % (template.method.encode(), path, b"\r\n".join(lines))
    if where == 2:
        at = random.randrange(len(lines))
        lines[at] = mutated(lines[at], random, most=2)
        head = b"%s %s HTTP/1.1\r\n%s" % (template.method.encode(), path, b"\r\n".join(lines))
    whole = head + b"\r\n\r\n" + body
    return mutated(whole, random, most=3) if where == 3 else whole


def asked(port: int, request: bytes) -> tuple[list[int], bytes]:
    """Every status that is answered to these bytes, and the answer; none where the server closes without one."""
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
            connection.sendall(request)
            open_ended = True
            while True:
                if open_ended and not select.select([connection], [], [], PAUSE_S)[0]:
                    # What was announced does not come, nor another request: the server need not wait.
                    connection.shutdown(socket.SHUT_WR)
                    open_ended = False
                if not (piece := connection.recv(65536)):
                    break
                answer += piece
    except OSError:
        pass
    return [int(status) for status in STATUS.findall(answer[:4096])], answer
