"""A session as a file, a page of messages at a time: as JSON with everything, or as Markdown for people."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from sluiceway.store.records import Message, Session
from sluiceway.wire.message import tool_name_of
from sluiceway.wire.results import results_in

Pages = Callable[[str, int], Awaitable[Sequence[Message]]]

_ROLES = {"user": "You", "assistant": "Assistant"}
_BACKTICKS = re.compile(r"`+")


async def as_json(session: Session, first: Sequence[Message], pages: Pages) -> AsyncIterator[str]:
    """One JSON object: the session's fields, and `messages`."""
    head = {"id": session.id, "title": session.title, "created_at": session.created_at.isoformat()}
    yield json.dumps(head, ensure_ascii=False)[:-1] + ', "messages": ['
    between = ""
    async for message in _all(session.id, first, pages):
        yield f"{between}\n{json.dumps(_fields(message), ensure_ascii=False)}"
        between = ","
    yield "\n]}\n"


async def as_markdown(session: Session, first: Sequence[Message], pages: Pages) -> AsyncIterator[str]:
    """Texts as they were said; a tool's call with what it was given, and what it answered."""
    yield f"# {' '.join((session.title or 'Conversation').split())}\n"
    async for message in _all(session.id, first, pages):
        if results_in(message.parts):
            continue  # nobody wrote it; the results stand with their calls
        said = "\n\n".join(text for part in message.parts if (text := _as_text(part)))
        when = message.created_at.strftime("%Y-%m-%d %H:%M UTC")
        yield f"\n## {_ROLES.get(message.role, message.role)}, {when}\n\n{said}\n"


async def _all(session_id: str, first: Sequence[Message], pages: Pages) -> AsyncIterator[Message]:
    page = first
    while page:
        for message in page:
            yield message
        page = await pages(session_id, page[-1].sequence)


def _fields(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "role": message.role,
        "sequence": message.sequence,
        "created_at": message.created_at.isoformat(),
        "parts": message.parts,
        "metadata": message.metadata,
        "parent_id": message.parent_id,
        "superseded": message.superseded,
    }


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
