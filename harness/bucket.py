"""A bucket that speaks as much of S3 as the services use, in this process: objects, uploads in parts, listings.

It checks no signature, only who signed. What it is told to do wrong it does: see `Bucket`.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4
from xml.sax.saxutils import escape

import uvicorn
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from harness.processes.ports import free_port
from harness.waiting import wait_until

KEY = "a-key"
SECRET = "a-secret"
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")
_KEYS = re.compile(r"<Key>(.*?)</Key>")


@dataclass
class Bucket:
    """`uploads`: their parts, until they are completed or dropped. `exists`: the bucket does. `cut_after`: a download
    breaks off after so many bytes. `asked_for`: how many bytes each download was to bring."""

    url: str
    objects: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    exists: bool = True
    cut_after: int | None = None
    asked_for: list[int] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """For a process whose FILES_URL is `s3://bucket`."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT": self.url,
        }

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        await (await self._respond(request))(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if f"Credential={KEY}/" not in request.headers.get("authorization", ""):
            return _error(403, "InvalidAccessKeyId")
        if not self.exists:
            return _error(404, "NoSuchBucket")
        query, key = request.query_params, request.url.path.removeprefix("/bucket").removeprefix("/")
        if not key and "delete" in query:
            return self._deleted(_KEYS.findall((await request.body()).decode()))
        if not key:
            found = "".join(
                _listed(one, body) for one, body in self.objects.items() if one.startswith(query.get("prefix", ""))
            )
            return _xml(f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>")
        if "uploads" in query:
            upload_id = uuid4().hex
            self.uploads[upload_id] = {}
            return _xml(
                f"<InitiateMultipartUploadResult><UploadId>{upload_id}</UploadId></InitiateMultipartUploadResult>"
            )
        if "uploadId" in query:
            return await self._upload(request, key, query["uploadId"])
        return await self._object(request, key)

    def _deleted(self, keys: list[str]) -> Response:
        for key in keys:
            self.objects.pop(key, None)
        told = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        return _xml(f"<DeleteResult>{told}</DeleteResult>")

    async def _upload(self, request: Request, key: str, upload_id: str) -> Response:
        match request.method:
            case "PUT":
                self.uploads[upload_id][int(request.query_params["partNumber"])] = await request.body()
                return Response(headers={"ETag": '"part"'})
            case "POST":
                parts = self.uploads.pop(upload_id)
                self.objects[key] = b"".join(parts[number] for number in sorted(parts))
                return _xml("<CompleteMultipartUploadResult><ETag>whole</ETag></CompleteMultipartUploadResult>")
            case _:
                self.uploads.pop(upload_id, None)
                return Response(status_code=204)

    async def _object(self, request: Request, key: str) -> Response:
        match request.method:
            case "PUT":
                self.objects[key] = await request.body()
                return Response(headers={"ETag": '"whole"'})
            case _ if key in self.objects:
                return self._sent(self.objects[key], request)
            case _:
                return _error(404, "NoSuchKey")

    def _sent(self, body: bytes, request: Request) -> Response:
        asked = _RANGE.fullmatch(request.headers.get("range", ""))
        start, end = (int(asked[1]), int(asked[2]) + 1) if asked else (0, len(body))
        headers = {
            "Content-Length": f"{end - start}",
            "Content-Range": f"bytes {start}-{end - 1}/{len(body)}",
            "ETag": '"whole"',
            "Last-Modified": "Fri, 27 Nov 2026 10:00:00 GMT",
        }
        self.asked_for.append(end - start)
        return StreamingResponse(self._pieces(body[start:end]), 206 if asked else 200, headers)

    async def _pieces(self, body: bytes) -> AsyncIterator[bytes]:
        yield body[: self.cut_after]
        if self.cut_after is not None:
            raise ConnectionError


@asynccontextmanager
async def open_bucket() -> AsyncIterator[Bucket]:
    port = free_port()
    bucket = Bucket(f"http://127.0.0.1:{port}")
    config = uvicorn.Config(bucket.answer, port=port, interface="asgi3", lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        await wait_until(lambda: server.started, what="the bucket listens")
        yield bucket
    finally:
        server.should_exit = server.force_exit = True
        await serving


_THEN = "2026-11-27T10:00:00.000Z"


def _listed(key: str, body: bytes) -> str:
    facts = f"<LastModified>{_THEN}</LastModified><ETag>whole</ETag><Size>{len(body)}</Size>"
    return f"<Contents><Key>{escape(key)}</Key>{facts}</Contents>"


def _xml(text: str) -> Response:
    return Response(f'<?xml version="1.0" encoding="UTF-8"?>\n{text}', media_type="application/xml")


def _error(status: int, code: str) -> Response:
    response = _xml(f"<Error><Code>{code}</Code><Message>No.</Message></Error>")
    response.status_code = status
    return response
