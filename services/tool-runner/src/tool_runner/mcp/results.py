"""What a tool of an MCP server answered, as the result of an operation.

Structured content is the result as it is. Else it is a text: texts one below the other, and for what is no text
(images, sound, files) a line that says what it is and how large. Base64 never gets into a conversation.
"""

from typing import Any, assert_never

from mcp import types

_MAX_ERROR_CHARS = 2000


def result_value(result: types.CallToolResult) -> Any:
    """The JSON value or the text of a call that went well."""
    if result.structured_content is not None:
        return result.structured_content
    return _text(result)


def error_text(result: types.CallToolResult) -> str:
    """What the tool says about its failure; never empty."""
    return _text(result)[:_MAX_ERROR_CHARS].strip() or "the tool reported an error and said nothing about it"


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


def _decoded_size(base64: str) -> int:
    """How many bytes it stands for, without decoding it."""
    return len(base64.rstrip("=")) * 3 // 4
