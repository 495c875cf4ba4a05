"""Uploads in parts: each part on its own, again where it was lost, and straight to the store where clients reach it."""

from typing import Annotated

import msgspec
from flask import Response, g, request
from ulid import ULID

from errors import Fault, InvalidInput, MalformedBody, NotFound, PayloadTooLarge
from gateway import bodies
from gateway.answers import answer, bare
from gateway.asking import base_url
from gateway.json_bodies import read_whole
from gateway.links import LINK_TTL_S
from gateway.parts import Parts
from gateway.routes import Answer, Body, Parameter, Route
from gateway.upload_ids import LARGEST_PART, SMALLEST_PART, UPLOAD_TTL_S, Upload, UploadIds, part_size
from storage.clock import wall_ms
from storage.multipart import MOST_PARTS, Part
from tasks.job_object import timestamp

#: Bytes of JSON that begin an upload, and that complete one of ten thousand parts.
SMALL_BODY, PARTS_BODY = 1024, 2 * 2**20
NUMBER = Parameter(name="number", schema={"type": "integer", "minimum": 1}, description="the first is 1")
_BYTES = {"application/octet-stream": {"type": "string", "format": "binary"}}


class UploadWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is going to be uploaded."""

    bytes: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    #: Bytes of each part but the last.
    part_bytes: Annotated[int, msgspec.Meta(ge=SMALLEST_PART, le=LARGEST_PART)] | None = None


class PartInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A part that is stored."""

    number: int
    bytes: int
    #: MD5 of its bytes, hexadecimal.
    etag: str


class UploadObject(msgspec.Struct, frozen=True, kw_only=True):
    """An upload in parts."""

    #: In the paths of what is done with it; opaque.
    id: str
    object: str = "upload"
    #: What it becomes, once it is completed.
    object_id: str
    bytes: int
    part_bytes: int
    #: How many parts it has; the first is 1.
    parts: int
    #: Those that are stored.
    received: list[PartInfo]
    #: Until when it must be completed.
    expires_at: str | None


class PartTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Where to send a part."""

    number: int
    #: Just so many.
    bytes: int
    method: str
    url: str
    #: True where the address belongs to this gateway, which asks for a key.
    gateway: bool
    url_expires_at: str | None


class PartName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part as it was sent."""

    number: int
    etag: Annotated[str, msgspec.Meta(max_length=128)]


class PartNames(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All parts of an upload."""

    parts: Annotated[list[PartName], msgspec.Meta(max_length=MOST_PARTS)]


class Uploaded(msgspec.Struct, frozen=True, kw_only=True):
    """What the parts became; `{"object": "<id>"}` as an input's value refers to it."""

    id: str
    bytes: int
    expires_at: str | None


_wish = msgspec.json.Decoder(UploadWish)
_names = msgspec.json.Decoder(PartNames)


class UploadViews:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.ids = UploadIds(parts.access)

    def begin(self) -> Response:
        bodies.require(request.environ, "application/json")
        wish = read_whole(bodies.read(request.environ, SMALL_BODY), _wish)
        most = self.parts.settings.max_object_bytes
        if wish.bytes > most:
            raise PayloadTooLarge(f"{wish.bytes} bytes are to be sent; at most {most} are taken")
        part_bytes = part_size(wish.bytes, wish.part_bytes)
        id = "obj_" + str(ULID())
        expires_ms = wall_ms() + UPLOAD_TTL_S * 1000
        draft = Upload(tenant=g.tenant, id=id, inner="", bytes=wish.bytes, part_bytes=part_bytes, expires_ms=expires_ms)
        # Settled first: no crash leaves parts that nobody erases.
        self.parts.jobs.schedule(f"upload:{draft.key}", at_ms=expires_ms)
        upload = Upload(**{**vars(draft), "inner": self.parts.objects.multipart().begin(draft.key)})
        name = self.ids.write(upload)
        location = f"{base_url(self.parts, request.environ)}/v1/uploads/{name}"
        return answer(shown(upload, name, []), 201, {"Location": location})

    def get(self, id: str) -> Response:
        found = self.ids.read(id, tenant=g.tenant)
        there = self.parts.objects.multipart().parts(found.key, found.inner)
        return answer(shown(found, id, there))

    def target(self, id: str) -> Response:
        found, place = self.ids.read(id, tenant=g.tenant), part_number()
        length = found.length(place)
        direct = self.parts.objects.multipart().url(found.key, found.inner, place, length=length, expires_s=LINK_TTL_S)
        own = f"{base_url(self.parts, request.environ)}/v1/uploads/{id}/part?number={place}"
        return answer(
            PartTarget(
                number=place,
                bytes=length,
                method="PUT",
                url=direct or own,
                gateway=direct is None,
                url_expires_at=timestamp(wall_ms() + LINK_TTL_S * 1000) if direct else None,
            )
        )

    def put(self, id: str) -> Response:
        found, place = self.ids.read(id, tenant=g.tenant), part_number()
        length = found.length(place)
        announced = bodies.content_length(request.environ, length)
        if announced != length:
            raise MalformedBody(f"part {place} has {length} bytes: send them with Content-Length")
        part = self.parts.objects.multipart().put(
            found.key,
            found.inner,
            place,
            bodies.chunks(request.environ, length),
            offset=found.offset(place),
            length=length,
        )
        return answer(info(part))

    def complete(self, id: str) -> Response:
        found = self.ids.read(id, tenant=g.tenant)
        bodies.require(request.environ, "application/json")
        named = read_whole(bodies.read(request.environ, PARTS_BODY), _names).parts
        if [part.number for part in named] != [*range(1, found.count + 1)]:
            detail = f"must name the parts 1 to {found.count} in order"
            raise InvalidInput(f"#/parts {detail}", faults=[Fault("#/parts", detail)])
        parts = [Part(part.number, found.length(part.number), part.etag) for part in named]
        expires_ms = wall_ms() + self.parts.settings.object_ttl_s * 1000
        self.parts.jobs.schedule("object:" + found.key, at_ms=expires_ms)
        try:
            self.parts.objects.multipart().complete(found.key, found.inner, parts)
        except NotFound:
            # The answer to an earlier request was lost.
            if self.parts.objects.size(found.key) != found.bytes:
                raise
        return answer(
            Uploaded(id=found.id, bytes=found.bytes, expires_at=timestamp(expires_ms)),
            201,
            {"Location": f"{base_url(self.parts, request.environ)}/v1/objects/{found.id}"},
        )

    def abandon(self, id: str) -> Response:
        found = self.ids.read(id, tenant=g.tenant)
        self.parts.objects.multipart().abandon(found.key)
        return bare(204, {})


def part_number() -> int:
    """`?number=N`; raises InvalidInput."""
    text = request.args.get("number", "")
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        detail = f"must be the number of a part, not {text[:40]!r}"
        raise InvalidInput(f"number {detail}", faults=[Fault("?number", detail)])
    return int(text)


def info(part: Part) -> PartInfo:
    return PartInfo(number=part.number, bytes=part.bytes, etag=part.etag)


def shown(upload: Upload, name: str, there: list[Part]) -> UploadObject:
    return UploadObject(
        id=name,
        object_id=upload.id,
        bytes=upload.bytes,
        part_bytes=upload.part_bytes,
        parts=upload.count,
        received=[info(part) for part in there],
        expires_at=timestamp(upload.expires_ms),
    )


def routes(parts: Parts) -> list[Route]:
    views = UploadViews(parts)
    upload = {"application/json": UploadObject}
    wrong = ("malformed_body", "invalid_input", "payload_too_large", "unsupported_media_type")
    away = ("not_found", "objects_unavailable")
    return [
        Route(
            method="POST", path="/v1/uploads", view=views.begin, name="beginUpload", tag="objects",
            scope="submit",
            summary="Begin an upload in parts",
            description=(
                "For large files: each part is sent on its own and again where it was lost. An upload that is not "
                "completed within a day is erased."
            ),
            body=Body(content={"application/json": UploadWish}, max_bytes=SMALL_BODY),
            answers={201: Answer(description="Begun", content=upload)},
            errors=(*wrong, "objects_unavailable", "store_unavailable"),
        ),
        Route(
            method="GET", path="/v1/uploads/<id>", view=views.get, name="getUpload", tag="objects",
            scope="submit",
            summary="An upload, and which of its parts are stored",
            answers={200: Answer(description="The upload", content=upload)}, errors=away,
        ),
        Route(
            method="DELETE", path="/v1/uploads/<id>", view=views.abandon, name="abandonUpload", tag="objects",
            scope="submit",
            summary="Give an upload up, and erase its parts",
            answers={204: Answer(description="Given up")}, errors=away,
        ),
        Route(
            method="GET", path="/v1/uploads/<id>/part", view=views.target, name="getUploadPart",
            tag="objects", scope="submit", parameters=(NUMBER,),
            summary="Where to PUT a part",
            description="Straight to the store, without a key and for 15 minutes, or to this gateway.",
            answers={200: Answer(description="Where to", content={"application/json": PartTarget})},
            errors=("invalid_input", *away),
        ),
        Route(
            method="PUT", path="/v1/uploads/<id>/part", view=views.put, name="putUploadPart",
            tag="objects", scope="submit", parameters=(NUMBER,),
            summary="Store a part through this gateway",
            body=Body(content=_BYTES, max_bytes=LARGEST_PART),
            answers={200: Answer(description="Stored", content={"application/json": PartInfo})},
            errors=("malformed_body", "payload_too_large", "unsupported_media_type", "invalid_input", *away),
        ),
        Route(
            method="POST", path="/v1/uploads/<id>/complete", view=views.complete, name="completeUpload",
            tag="objects", scope="submit",
            summary="Make an object from the parts",
            description=(
                "Names every part with the `etag` that it was stored under, or the MD5 of what was sent: an object is "
                "only made from just these. Asked again, it answers the same."
            ),
            body=Body(content={"application/json": PartNames}, max_bytes=PARTS_BODY),
            answers={201: Answer(description="Stored", content={"application/json": Uploaded})},
            errors=(*wrong, *away, "store_unavailable"),
        ),
    ]  # fmt: skip
