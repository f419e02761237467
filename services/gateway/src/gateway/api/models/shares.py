"""A conversation that is shared by a link: what its owner is told of the link, and what everybody sees behind it.

Guarantees: what is seen is what the page shows in the open: questions, answers, sources, documents that a tool wrote,
and that a tool was called. No reasoning, arguments, results, files, pages that a message came with, usage, or ids that
open anything here.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import Field
from sluiceway.store.records import Message
from sluiceway.store.turns.shares import Share, SharedPage

from gateway.api.models.wire import Wire

Part = dict[str, Any]
_KEPT: dict[str, tuple[str, ...]] = {
    "text": ("text",),
    "source-url": ("sourceId", "url", "title"),
    "source-document": ("sourceId", "mediaType", "title"),
}
_ENDS = frozenset({"output-available", "output-error", "output-denied"})


class ShareView(Wire):
    token: str
    path: str = Field(description="of the page that shows it, from this service's own address on")
    shared_at: datetime = Field(description="as it stood then it is shown")

    @classmethod
    def of(cls, share: Share) -> "ShareView":
        return cls(token=share.token, path=f"/#/s/{share.token}", shared_at=share.shared_at)


class SharedMessage(Wire):
    """`parts`: as the AI SDK's `UIMessage` has them; a file is a `data-withheld` part."""

    sequence: int
    role: Literal["user", "assistant"]
    parts: list[dict[str, Any]]
    created_at: datetime


class SharedConversation(Wire):
    """Its messages in order. `has_more`: there are older ones, `?before_sequence=`."""

    title: str | None
    shared_at: datetime
    messages: list[SharedMessage]
    has_more: bool

    @classmethod
    def of(cls, page: SharedPage) -> "SharedConversation":
        messages = [_message(message) for message in page.messages]
        return cls(title=page.title, shared_at=page.shared_at, messages=messages, has_more=page.has_more)


def _message(message: Message) -> SharedMessage:
    return SharedMessage.model_validate(
        {
            "sequence": message.sequence,
            "role": message.role,
            "parts": shared_parts(message.parts),
            "created_at": message.created_at,
        }
    )


def shared_parts(parts: Sequence[Part]) -> list[Part]:
    shown = [_shared(part, number) for number, part in enumerate(parts)]
    return [part for part in shown if part is not None]


def _shared(part: Part, number: int) -> Part | None:
    kind = str(part.get("type", ""))
    if kind in _KEPT:
        return {"type": kind, **{name: part[name] for name in _KEPT[kind] if name in part}}
    if kind == "file":
        return {"type": "data-withheld", "data": {"what": "file"}}
    if "toolCallId" in part:
        return _call(part, kind, number)
    return None


def _call(part: Part, kind: str, number: int) -> Part:
    """That a tool was called, how that ended, and the document that it wrote."""
    name = part.get("toolName") if kind == "dynamic-tool" else kind.removeprefix("tool-")
    state = part.get("state") if part.get("state") in _ENDS else "input-available"
    shown: Part = {"type": "dynamic-tool", "toolCallId": f"call-{number}", "toolName": str(name), "state": state}
    if isinstance(part.get("title"), str):
        shown["title"] = part["title"]
    output = part.get("output")
    if state == "output-available" and isinstance(output, dict) and isinstance(output.get("markdown"), str):
        shown["output"] = {"markdown": output["markdown"]}
    return shown
