"""What tools of MCP servers answer beside text is kept as files of the conversation, where it is what it says."""

import base64
from pathlib import Path

import pytest
from mcp import types
from sluiceway.files.keeping import FileKeeping, FileLimits, Sent
from sluiceway.files.kinds import KINDS
from sluiceway.files.objects import FileObjects
from sluiceway.store import Store
from sluiceway.wire.file_part import file_part
from sluiceway.wire.message import Part
from tool_runner.mcp.results import result_value
from tool_runner.tool.files import no_files

from harness.pdf import pdf_of

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 64


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.mark.requirement("CH-17")
async def test_pictures_and_documents_are_kept_and_what_lies_is_described(database_url: str, tmp_path: Path) -> None:
    paper = types.BlobResourceContents(uri="file:///a/b.pdf", mime_type="application/pdf", blob=_encoded(pdf_of("a")))
    odd = types.BlobResourceContents(uri="file:///c.bin", mime_type="application/x-odd", blob=_encoded(b"\x00\x01"))
    result = types.CallToolResult(
        content=[
            types.TextContent(type="text", text="Here they are."),
            types.ImageContent(type="image", data=_encoded(PNG), mime_type="image/png"),
            types.ImageContent(type="image", data=_encoded(b"<svg/>"), mime_type="image/png"),
            types.ImageContent(type="image", data="%%%", mime_type="image/png"),
            types.EmbeddedResource(type="resource", resource=paper),
            types.EmbeddedResource(type="resource", resource=odd),
        ]
    )
    async with Store.open(database_url, max_size=2, application_name="test") as store:
        keeping = FileKeeping(store, FileObjects(f"file:{tmp_path}/files"), FileLimits(100_000, KINDS))

        async def keep(name: str, content: bytes, media_type: str | None) -> Part:
            file = await keeping.keep_bytes(Sent(name, media_type, len(content), "ada"), content)
            return file_part(file.id, file.name, file.media_type)

        value = await result_value(result.model_copy(deep=True), keep)

        assert [(file["filename"], file["mediaType"]) for file in value["files"]] == [
            ("image", "image/png"),
            ("b.pdf", "application/pdf"),
        ]
        assert value["text"].startswith("Here they are.\n[image image/png, 72 bytes]")
        plain = await result_value(result, no_files)
        assert plain == value["text"]
