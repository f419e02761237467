"""The entries of a turn's stream as an operator sees them: types, sizes and codes, and nothing that was said."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from sluiceway.wire.entry_id import EntryId

# The words of these are ours, or a tool's name; of all others even a part may be what somebody said.
_TOLD = {
    "data-status": ("state", "waitsFor", "code", "attempt"),
    "data-error": ("code",),
    "data-context": ("state", "reason"),
}
_TOOLS = ("tool-input-start", "tool-input-available", "tool-input-error")


@dataclass(frozen=True, slots=True)
class Events:
    """Entries of the same type in a row. `detail`: of one that stands alone."""

    first: EntryId
    last: EntryId
    type: str
    count: int
    bytes: int
    detail: str


def events_of(entries: Iterable[tuple[EntryId, str, bytes]]) -> list[Events]:
    found: list[Events] = []
    for entry, kind, body in entries:
        before = found[-1] if found else None
        detail = _detail(kind, body)
        # Another attempt is another row: that is what one looks for.
        if before is not None and (before.type, before.last[0], before.detail, detail) == (kind, entry[0], "", ""):
            found[-1] = Events(before.first, entry, kind, before.count + 1, before.bytes + len(body), "")
        else:
            found.append(Events(entry, entry, kind, 1, len(body), detail))
    return found


def _detail(kind: str, body: bytes) -> str:
    names = _TOLD.get(kind)
    try:
        said = json.loads(body)
        if names is not None:
            data = said.get("data", {})
            return ", ".join(f"{name} {str(data[name])[:60]}" for name in names if name in data)
        return str(said.get("toolName", ""))[:100] if kind in _TOOLS else ""
    except (ValueError, AttributeError, TypeError):
        return ""
