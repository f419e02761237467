"""Files that people attach: uploaded as they come, given out from a path of their own, deleted.

Guarantees: an upload that is too large, of a kind that is not taken, or that stops half-way leaves nothing. What is
given out has the type that its content has, is never run as a page or a script, and is shown to its owner alone.
"""

from contextlib import nullcontext
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import Field
from sluiceway.errors import (
    AccessDenied,
    FileNotFound,
    FileQuotaReached,
    FilesUnavailable,
    FileTooLarge,
    FileTypeRefused,
    StoreUnavailable,
)
from sluiceway.files.keeping import Sent
from sluiceway.store.records import StoredFile
from sluiceway.wire.file_part import PICTURES, file_url
from starlette.responses import Response, StreamingResponse

from gateway.api.body import Body
from gateway.api.inputs import ClientId, In, Params
from gateway.api.models.files import FileView
from gateway.api.problems import FilesNotSetUp, ProblemType, TooManyAtOnce
from gateway.routing.table import Call, RawBody, RouteSpec, Success, json_response

_FORMS = "multipart/form-data"
_SAFE = {
    # No script, no form, no plugin, no origin, whatever a browser may take it for.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    # A minute, for whoever asked: one that is deleted is not shown for long.
    "Cache-Control": "private, max-age=60",
    "Accept-Ranges": "none",
}


class UploadParams(Params):
    name: Annotated[str, Field(max_length=1000), In("query", any_text=True)] = ""


class FileParams(Params):
    file_id: Annotated[ClientId, In("path")]


class DownloadParams(FileParams):
    if_none_match: Annotated[str | None, In("header", "if-none-match")] = None


async def upload_file(call: Call[UploadParams, Body]) -> Response:
    settings, body, caller = call.gateway.settings, call.body, call.caller
    if not call.gateway.objects.on:
        raise FilesNotSetUp
    if (body.media_type or "").lower().startswith(_FORMS):
        raise FileTypeRefused("Send the file itself as the body, not a form; its name in `?name=`.")
    announced = body.announced_bytes
    if announced is not None and announced > settings.max_file_bytes:
        raise FileTooLarge(max_file_bytes=settings.max_file_bytes)
    sent = Sent(call.params.name, body.media_type, announced, caller.user_id)
    pieces = body.pieces(call.gateway.objects.most_held_bytes, settings.upload_timeout_seconds)
    # A program may bring the files of many people.
    async with nullcontext() if caller.trusted else call.gateway.uploads.turn(caller.counted_as):
        file = await call.gateway.files.keep(sent, pieces)
    return json_response(FileView.of(file), 201, {"Location": file_url(file.id)})


async def download_file(call: Call[DownloadParams, None]) -> Response:
    store, file_id = call.gateway.store.files, call.params.file_id
    viewer = await store.owner(file_id) if call.caller.reads_all else call.caller.user_id
    file = await store.get(file_id, viewer)
    headers = _headers(file)
    if call.params.if_none_match is not None and headers["ETag"] in call.params.if_none_match:
        return Response(status_code=304, headers=headers)
    if call.method == "HEAD":
        return Response(headers=headers)
    pieces = await call.gateway.objects.pieces(file_id, file.size)
    if pieces is None:
        raise FileNotFound
    return StreamingResponse(pieces, headers=headers)


async def delete_file(call: Call[FileParams, None]) -> Response:
    await call.gateway.store.files.delete(call.params.file_id, call.caller.user_id)
    return Response(status_code=204)


def _headers(file: StoredFile) -> dict[str, str]:
    """Pictures may be shown in a page; all else is saved."""
    place = "inline" if file.media_type in PICTURES else "attachment"
    charset = "; charset=utf-8" if file.media_type.startswith("text/") or file.media_type == "application/json" else ""
    return {
        **_SAFE,
        "Content-Type": f"{file.media_type}{charset}",
        "Content-Disposition": f"{place}; filename*=UTF-8''{quote(file.name, safe='')}",
        "ETag": f'"{file.sha256}"',
    }


_UPLOAD_PROBLEMS: tuple[ProblemType, ...] = (
    FileQuotaReached,
    FileTooLarge,
    FileTypeRefused,
    FilesNotSetUp,
    FilesUnavailable,
    StoreUnavailable,
    TooManyAtOnce,
)
_FILE = Success("The file, with the type that its content has.", media_type="*/*")

ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    RouteSpec(
        "POST",
        "/api/chat/files",
        upload_file,
        "Upload a file, for a message to name it",
        "Files",
        {201: Success("It is kept, for a day where no message names it.", FileView)},
        UploadParams,
        raw_body=RawBody(None, lambda settings: settings.max_file_bytes),
        problems=_UPLOAD_PROBLEMS,
        description=(
            "The body is the file itself, streamed as it comes. Pictures (PNG, JPEG, GIF, WebP), PDFs and texts in "
            "UTF-8 are taken, by their content; a file that says it is something else is refused. Of several that one "
            "person sends at once each waits for those before. Limits: `/config`."
        ),
        scopes=("turns",),
    ),
    RouteSpec(
        "GET",
        "/api/chat/files/{file_id}",
        download_file,
        "A file",
        "Files",
        {200: _FILE, 304: Success("It is what the client has.", media_type=None)},
        DownloadParams,
        problems=(AccessDenied, FileNotFound, FilesUnavailable, StoreUnavailable),
        description="Pictures are shown where they stand, all else is for saving. Nothing in it is run.",
        scopes=("turns", "read"),
    ),
    RouteSpec(
        "DELETE",
        "/api/chat/files/{file_id}",
        delete_file,
        "Delete a file",
        "Files",
        {204: Success("It is gone; messages that name it say so to the model.", media_type=None)},
        FileParams,
        problems=(AccessDenied, FileNotFound, StoreUnavailable),
        description="Files go with their session, too.",
        scopes=("turns",),
    ),
)
