"""A session as a file, a page of messages at a time: as JSON with everything, or as Markdown for people.

Guarantees: while a piece is being sent, of the session nothing is held but that piece and what is left of the page.
"""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from sluiceway.store.records import Message, Session
from sluiceway.wire.message import tool_name_of
from sluiceway.wire.results import results_in

Pages = Callable[[str, int], Awaitable[list[Message]]]
# Around what takes the event loop.
Rendering = Callable[[], AbstractAsyncContextManager[None]]

_ROLES = {"user": "You", "assistant": "Assistant"}
_BACKTICKS = re.compile(r"`+")


async def as_json(
    session: Session, first: list[Message], pages: Pages, rendering: Rendering
) -> AsyncIterator[str | bytes]:
    """One JSON object: the session's fields, and `messages`. `first`, the first page, is used up."""
    head = {"id": session.id, "title": session.title, "created_at": session.created_at.isoformat()}
    yield json.dumps(head, ensure_ascii=False)[:-1] + ', "messages": ['
    between = ""
    async for text in _each(_as_object, session.id, first, pages, rendering):
        yield f"{between}\n"
        yield text
        between = ","
    yield "\n]}\n"


async def as_markdown(
    session: Session, first: list[Message], pages: Pages, rendering: Rendering
) -> AsyncIterator[str | bytes]:
    """Texts as they were said; a tool's call with what it was given, and what it answered. `first` is used up."""
    yield f"# {' '.join((session.title or 'Conversation').split())}\n"
    async for text in _each(_as_section, session.id, first, pages, rendering):
        yield text


async def _each(
    render: Callable[[Message], str], session_id: str, page: list[Message], pages: Pages, rendering: Rendering
) -> AsyncIterator[bytes]:
    """Every message, rendered. A page is emptied as it goes, so that no frame keeps what was sent."""
    while page:
        last = page[-1].sequence
        page.reverse()
        while page:
            async with rendering():
                pieces = [render(page.pop()).encode()]
            yield pieces.pop()
        page = await pages(session_id, last)


def _as_section(message: Message) -> str:
    if results_in(message.parts):
        return ""  # nobody wrote it; the results stand with their calls
    said = "\n\n".join(text for part in message.parts if (text := _as_text(part)))
    when = message.created_at.strftime("%Y-%m-%d %H:%M UTC")
    return f"\n## {_ROLES.get(message.role, message.role)}, {when}\n\n{said}\n"


def _as_object(message: Message) -> str:
    fields = {
        "id": message.id,
        "role": message.role,
        "sequence": message.sequence,
        "created_at": message.created_at.isoformat(),
        "parts": message.parts,
        "metadata": message.metadata,
        "parent_id": message.parent_id,
        "superseded": message.superseded,
    }
    return json.dumps(fields, ensure_ascii=False)


def _as_text(part: dict[str, Any]) -> str:
    if part.get("type") == "text":
        return str(part.get("text", "")).strip()
    if "toolCallId" not in part:
        return ""
    told = [f"**{tool_name_of(part)}**", _fenced(part.get("input"))]
    told.append(_fenced(part["output"]) if "output" in part else str(part.get("errorText", "")))
    return "\n\n".join(one for one in told if one)


def _fenced(value: Any) -> str:
    """In a fence that is longer than any in it."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    fence = "`" * max(3, 1 + max((len(found) for found in _BACKTICKS.findall(text)), default=0))
    return f"{fence}\n{text}\n{fence}"
