"""Uploads: streamed in, streamed or redirected out, erased after their time."""

import re
from collections.abc import Iterator
from typing import Annotated

import msgspec
from flask import Response, g, request
from ulid import ULID

from errors import Forbidden, MalformedBody, NotFound, PayloadTooLarge
from gateway import bodies, forms
from gateway.answers import answer, bare
from gateway.asking import base_url
from gateway.inputs import OBJECT_ID, upload_key
from gateway.json_bodies import read_whole
from gateway.links import LINK_TTL_S
from gateway.parts import Parts
from gateway.routes import Answer, Body, Route
from storage.clock import wall_ms
from storage.objects import Stored
from storage.streams import disposition
from tasks.job_object import timestamp
from tasks.scoring_object import ERRORS, OUTPUT

#: What came of a scoring.
SCORED = re.compile(rf"(?P<scoring>scr_[0-9A-HJKMNP-TV-Z]{{26}})(?P<what>{OUTPUT}|{ERRORS})")
#: Content types of its files, by the ending of their keys.
KINDS = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
#: Bytes of JSON that ask for a URL.
SMALL_BODY = 1024
#: Seconds after the end of a URL's life in which an upload that began within it may end.
GRACE_S = 3600
_BYTES = {"application/octet-stream": {"type": "string", "format": "binary"}}


class ObjectInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An upload; `{"object": "<id>"}` as an input's value refers to it."""

    id: str
    bytes: int
    sha256: str
    expires_at: str | None


class Presigned(msgspec.Struct, frozen=True, kw_only=True):
    """Where to send the bytes, with which method, until when; then `id` refers to them."""

    id: str
    method: str
    url: str
    url_expires_at: str | None
    expires_at: str | None


class PresignWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be sent."""

    #: Just so many bytes, the only ones that the URL then takes; without it the limit is held afterwards.
    bytes: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None


_presign = msgspec.json.Decoder(PresignWish)


class ObjectViews:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def upload(self) -> Response:
        id, expires_ms = self.announce()
        stored = self.parts.objects.put(upload_key(g.tenant, id), self.content(), max_bytes=self.max_bytes)
        return answer(
            info(id, stored, expires_ms), 201, {"Location": f"{base_url(self.parts, request.environ)}/v1/objects/{id}"}
        )

    @property
    def max_bytes(self) -> int:
        return self.parts.settings.max_object_bytes

    def announce(self) -> tuple[str, int]:
        """A new object's id, and when it will be erased: settled first, so that no upload outlives its time."""
        id = "obj_" + str(ULID())
        expires_ms = wall_ms() + self.parts.settings.object_ttl_s * 1000
        self.parts.jobs.schedule("object:" + upload_key(g.tenant, id), at_ms=expires_ms)
        return id, expires_ms

    def content(self) -> Iterator[bytes]:
        """The body, or the first file of a form, as it arrives."""
        chunks = bodies.chunks(request.environ, self.max_bytes)
        if bodies.content_type(request.environ) != "multipart/form-data":
            return chunks
        return form_file(chunks)

    def presign(self) -> Response:
        length = self.asked_length()
        id, expires_ms = self.announce()
        key = upload_key(g.tenant, id)
        url = self.parts.objects.put_url(key, LINK_TTL_S, length=length)
        if url and length is None:
            # The store does not know our limit: it is held once nobody can send any more.
            until_ms = wall_ms() + (LINK_TTL_S + GRACE_S) * 1000
            self.parts.jobs.schedule(f"measure:{key}", at_ms=until_ms)
        return answer(
            Presigned(
                id=id,
                method="PUT",
                url=url
                or base_url(self.parts, request.environ) + self.parts.links.path(key, method="PUT", length=length),
                url_expires_at=timestamp(wall_ms() + LINK_TTL_S * 1000),
                expires_at=timestamp(expires_ms),
            ),
            201,
        )

    def asked_length(self) -> int | None:
        """Bytes that are to be sent, from the body where there is one; raises PayloadTooLarge, InvalidInput."""
        body = bodies.read(request.environ, SMALL_BODY)
        if not body:
            return None
        bodies.require(request.environ, "application/json")
        length = read_whole(body, _presign).bytes
        if length is not None and length > self.max_bytes:
            raise PayloadTooLarge(f"{length} bytes are to be sent; at most {self.max_bytes} are taken")
        return length

    def get(self, id: str) -> Response:
        missing = f"no object {id[:80]!r}"
        if OBJECT_ID.fullmatch(id):
            return self.send(upload_key(g.tenant, id), missing)
        if (key := self.scored(id)) is None:
            raise NotFound(missing)
        return self.send(key, missing, name=f"{id}.{key.rpartition('.')[2]}")

    def scored(self, id: str) -> str | None:
        """The key of what came of a scoring of the caller's, by what its object is called."""
        match = SCORED.fullmatch(id)
        scoring = self.parts.scorings.get(match["scoring"]) if match else None
        if match is None or scoring is None or scoring.tenant != g.tenant or scoring.erased:
            return None
        return (scoring.output_key if match["what"] == OUTPUT else scoring.errors_key) or None

    def send(self, key: str, missing: str, *, name: str = "") -> Response:
        """The object's bytes, or the way to them; `name`: of the file that a browser makes of it."""
        size = self.parts.inputs.size(key)
        if size is None:
            raise NotFound(missing)
        if direct := self.parts.objects.url(key, LINK_TTL_S, name=name, kind=kind_of(key)):
            return bare(303, {"Location": direct})
        return Response(
            () if request.method == "HEAD" else self.parts.objects.open(key),
            200,
            {"Content-Disposition": disposition(name), "Content-Length": str(size)},
            content_type=kind_of(key),
        )

    def get_link(self, token: str) -> Response:
        return self.send(self.parts.links.allowed(token, method="GET")[0], "the object is gone")

    def put_link(self, token: str) -> Response:
        key, length = self.parts.links.allowed(token, method="PUT")
        if length is not None and request.environ.get("CONTENT_LENGTH") != str(length):
            raise Forbidden(f"this link is for a body of {length} bytes, with Content-Length")
        stored = self.parts.objects.put(key, bodies.chunks(request.environ, self.max_bytes), max_bytes=self.max_bytes)
        return answer(info(key.rpartition("/")[2], stored, 0))


def kind_of(key: str) -> str:
    """The content type of what the farm itself has written; an upload may be anything."""
    if "/scorings/" in key:
        return KINDS[key.rpartition(".")[2]]
    return "application/octet-stream" if "/objects/" in key else "application/json"


def info(id: str, stored: Stored, expires_ms: int) -> ObjectInfo:
    return ObjectInfo(id=id, bytes=stored.bytes, sha256=stored.sha256, expires_at=timestamp(expires_ms))


def form_file(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of a form's only file; raises MalformedBody where there is none, or another."""
    found = False
    for part in forms.parts(chunks):
        if part.filename is None:
            continue
        if found:
            raise MalformedBody("the form holds more than one file; send one at a time")
        found = True
        yield from part.data
    if not found:
        raise MalformedBody("the form holds no file")


def routes(parts: Parts) -> list[Route]:
    views = ObjectViews(parts)
    uploaded = {"application/json": ObjectInfo}
    refused = ("malformed_body", "payload_too_large", "objects_unavailable")
    form = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
    body = Body(content={**_BYTES, "multipart/form-data": form}, max_bytes=parts.settings.max_object_bytes)
    written = {kind.partition(";")[0]: {"type": "string", "format": "binary"} for kind in KINDS.values()}
    sent = {
        200: Answer(description="The bytes", content=_BYTES | written),
        303: Answer(description="The bytes are elsewhere", headers={"Location": "where, for a while"}),
    }
    return [
        Route(
            method="POST", path="/v1/objects", view=views.upload, name="uploadObject", tag="objects",
            scope="submit",
            summary="Upload bytes, as the body or as a form's file",
            body=body, answers={201: Answer(description="Stored", content=uploaded)}, errors=refused,
        ),
        Route(
            method="POST", path="/v1/objects:presign", view=views.presign, name="presignObject", tag="objects",
            scope="submit",
            summary="A URL to PUT bytes to, without a key",
            description=(
                "For one object, one PUT and 15 minutes; with `bytes`, for a body of just that length. What turns out "
                "larger than an upload may be is erased."
            ),
            body=Body(content={"application/json": PresignWish}, required=False, max_bytes=SMALL_BODY),
            answers={201: Answer(description="Where to", content={"application/json": Presigned})},
            errors=(
                "malformed_body", "invalid_input", "payload_too_large", "unsupported_media_type",
                "objects_unavailable", "store_unavailable",
            ),
        ),
        Route(
            method="GET", path="/v1/objects/<id>", view=views.get, name="getObject", tag="objects",
            scope="read",
            summary="An upload's bytes, or what came of a scoring", answers=sent,
            errors=("not_found", "objects_unavailable"),
        ),
        Route(
            method="GET", path="/v1/links/<token>", view=views.get_link, name="getLink", tag="objects", public=True,
            summary="What a signed link leads to", answers=sent, errors=("forbidden", "not_found"),
        ),
        Route(
            method="PUT", path="/v1/links/<token>", view=views.put_link, name="putLink", tag="objects", public=True,
            summary="Upload to a presigned URL of this gateway",
            body=Body(content=_BYTES, max_bytes=parts.settings.max_object_bytes),
            answers={200: Answer(description="Stored", content=uploaded)},
            errors=("forbidden", *refused),
        ),
    ]  # fmt: skip
