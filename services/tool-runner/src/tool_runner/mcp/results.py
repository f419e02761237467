"""What a tool of an MCP server answered, as the result of an operation.

Structured content is the result as it is. Else it is a text: texts one below the other, and for what is no text
(images, sound, files) a line that says what it is and how large. Pictures, PDFs and texts among that are kept as files
of the conversation, where there is a place for them: the result is `{"text", "files"}` then. Base64 never gets into a
conversation.
"""

import binascii
from dataclasses import dataclass
from typing import Any, assert_never

from mcp import types
from sluiceway.errors import DomainError, Unavailable
from sluiceway.process.logs import get_logger
from sluiceway.wire.message import Part

from tool_runner.tool.files import KeepFile

_MAX_ERROR_CHARS = 2000
_MAX_FILES = 10


async def result_value(result: types.CallToolResult, keep: KeepFile) -> Any:
    """The JSON value or the text of a call that went well, with the files that came with it, which the result has not
    any more."""
    if result.structured_content is not None:
        return result.structured_content
    text = _text(result)
    files = await _files(result, keep)
    return {"text": text, "files": files} if files else text


def error_text(result: types.CallToolResult) -> str:
    """What the tool says about its failure; never empty."""
    return _text(result)[:_MAX_ERROR_CHARS].strip() or "the tool reported an error and said nothing about it"


async def _files(result: types.CallToolResult, keep: KeepFile) -> list[Part]:
    """One after the other, and of none its base64 any more while it is kept: it may be many megabytes."""
    files, found = list[Part](), 0
    for block in result.content:
        attached = _attached(block) if found < _MAX_FILES else None
        if attached is not None:
            found += 1
            part = await _kept(attached, keep)
            files += [part] if part is not None else []
    return files


@dataclass(slots=True)
class _Attached:
    name: str
    media_type: str | None
    data: str


def _attached(block: types.ContentBlock) -> _Attached | None:
    """What is to be kept, taken out of the result."""
    match block:
        case types.ImageContent():
            attached, block.data = _Attached("image", block.mime_type, block.data), ""
            return attached
        case types.EmbeddedResource(resource=types.BlobResourceContents() as blob):
            name = str(blob.uri).rsplit("/", 1)[-1]
            attached, blob.blob = _Attached(name, blob.mime_type, blob.blob), ""
            return attached
        case _:
            return None


async def _kept(attached: _Attached, keep: KeepFile) -> Part | None:
    """None where it cannot be kept: the text says that it was there."""
    try:
        content = binascii.a2b_base64(attached.data, strict_mode=True)
        attached.data = ""
        return await keep(attached.name, content, attached.media_type)
    except ValueError:
        return None
    except (DomainError, Unavailable) as error:
        get_logger().info("file_of_tool_not_kept", code=error.code)
        return None


def _text(result: types.CallToolResult) -> str:
    return "\n".join(_describe(block) for block in result.content)


def _describe(block: types.ContentBlock) -> str:
    match block:
        case types.TextContent():
            return block.text
        case types.ImageContent() | types.AudioContent():
            return f"[{block.type} {block.mime_type}, {_decoded_size(block.data)} bytes]"
        case types.ResourceLink():
            size = "" if block.size is None else f", {block.size} bytes"
            return f"[resource {block.title or block.name} <{block.uri}>, {_kind(block.mime_type)}{size}]"
        case types.EmbeddedResource():
            return _describe_resource(block.resource)
        case _:
            assert_never(block)


def _describe_resource(resource: types.TextResourceContents | types.BlobResourceContents) -> str:
    if isinstance(resource, types.TextResourceContents):
        return resource.text
    return f"[resource <{resource.uri}>, {_kind(resource.mime_type)}, {_decoded_size(resource.blob)} bytes]"


def _kind(mime_type: str | None) -> str:
    return mime_type or "of unknown type"


def _decoded_size(data: str) -> int:
    """How many bytes it stands for, without decoding it."""
    return len(data.rstrip("=")) * 3 // 4
