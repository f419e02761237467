"""What is left of a turn's end that Postgres refuses: less and less of it, until it is taken.

Guarantees: the last of `reductions` has nothing in it that came from outside. A turn that was to be completed has
failed then, with an error that its user sees; one that was cancelled stays so. The history says that something is
missing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from sluiceway.store.turns.ending import TurnEnd
from sluiceway.wire.events import TERMINAL_TYPES, Data, Error, Event
from sluiceway.wire.json_values import encode_json
from sluiceway.wire.message import Part, answer_call, calls_in, is_answered

NOT_STORABLE = "ANSWER_NOT_STORABLE"
ERROR = {"code": NOT_STORABLE, "message": "The answer could not be stored as it was. What could be kept is shown."}
MAX_KEPT_BYTES = 1_000_000
_ERROR_PART: Part = {"type": "data-error", "data": ERROR}
_LOST = "CANCELLED: The turn failed before the tool had ended."
_MAX_COUNT = 2**53 - 1


def reductions(end: TurnEnd, task_id: str, stored: Sequence[Part]) -> Iterator[TurnEnd]:
    """Ends to try, one after the other. `stored`: the parts that Postgres has of the message already."""
    failed = end.status != "cancelled"
    error = (end.error or ERROR) if failed else None
    status = "failed" if failed else end.status
    metadata: dict[str, Any] = {"status": status, "taskId": task_id} | ({"error": error} if error else {})
    least = TurnEnd(status=status, parts=None, metadata=metadata, error=error, calls=end.calls)
    yield replace(least, parts=[*_beginning_of(end.parts or ()), _ERROR_PART], usage=_counts(end.usage))
    yield replace(least, parts=[*_ended(stored), _ERROR_PART])
    yield replace(least, parts=[_ERROR_PART])
    if failed:
        least = replace(least, metadata={"status": status, "taskId": task_id, "error": ERROR}, error=ERROR)
        yield replace(least, parts=[_ERROR_PART])
    yield replace(least, metadata=None, calls=())


def last_events(reduced: TurnEnd, end: TurnEnd, events: Sequence[Event]) -> list[Event]:
    """The last chunks of a turn that ended so, instead of those that its end was to have."""
    if reduced.status == end.status:
        return list(events)
    kept = [event for event in events if event.type not in TERMINAL_TYPES]
    return [*kept, Data(type="data-error", data=ERROR), Error(error_text=ERROR["message"])]


def _beginning_of(parts: Sequence[Part]) -> list[Part]:
    """As many whole parts as have room, and of a text that has not its beginning."""
    kept: list[Part] = []
    left = MAX_KEPT_BYTES
    for part in parts:
        size = len(encode_json(part))
        if size > left:
            if isinstance(part.get("text"), str):
                kept.append({**part, "text": part["text"][: left // 4]})
            return kept
        kept.append(part)
        left -= size
    return kept


def _ended(parts: Sequence[Part]) -> list[Part]:
    """The parts with an end for every call."""
    ended = [dict(part) for part in parts]
    for part in calls_in(ended).values():
        if not is_answered(part):
            answer_call(part, state="output-error", errorText=_LOST)
    return ended


def _counts(usage: dict[str, Any] | None) -> dict[str, Any] | None:
    """What of it are numbers of tokens."""
    counts = {name: count for name, count in (usage or {}).items() if isinstance(count, int) and count <= _MAX_COUNT}
    return counts or None
