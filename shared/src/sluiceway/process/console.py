"""Log lines for people at a terminal: the time of day, what happened, and what tells it from others.

Guarantees: a line of level info has at most COLUMNS characters, so that it fits 100 columns behind the name of its
process; what has no room, and what only machines join by, stands in the JSON format. Warnings and errors are whole. A
message is two lines, its acceptance and its end, unless something goes wrong; at level debug nothing is left out.
"""

from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

COLUMNS = 77
# Told by the line before or behind it, or by `make run` itself.
_LEFT_OUT = frozenset({"turn_started", "operation_started", "operation_completed", "listening", "started"})
_OF_MACHINES = frozenset(
    {"component", "worker", "runner", "trace_id", "request_id", "user", "entry_id", "health_port", "attempt"}
)
_FIRST = ("task_id", "session_id", "tool", "method", "route", "status", "code", "duration_ms")
_SHORT = {"task_id": "task", "session_id": "session", "operation_id": "operation", "duration_ms": "took"}
_ID_CHARS = 8


class ConsoleLines:
    """The last processor: a line, or none. `whole`: nothing is left out."""

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> str:
        level = str(event.pop("level", "info"))
        quiet = level in ("info", "debug") and not self._whole
        if quiet and _is_told_elsewhere(event):
            raise structlog.DropEvent
        exception = event.pop("exception", None)
        head = f"{event.pop('timestamp', '')} {'' if level == 'info' else f'{level}: '}{event.pop('event', '')}"
        fields = [
            _field(name, event[name], short=quiet)
            for name in _in_order(event)
            if self._whole or name not in _OF_MACHINES
        ]
        line = _fitted(head, fields) if quiet else " ".join([head, *fields])
        return f"{line}\n{exception}" if exception else line


def _is_told_elsewhere(event: EventDict) -> bool:
    name = event.get("event")
    ended_well = name == "http_request" and event.get("status", 500) < 400
    pauses = name == "turn_ended" and event.get("status") == "waiting"
    is_well = name == "readiness_changed" and event.get("problem") is None
    return name in _LEFT_OUT or ended_well or pauses or is_well


def _in_order(event: EventDict) -> list[str]:
    known = [name for name in _FIRST if name in event]
    return known + sorted(name for name in event if name not in _FIRST and not name.startswith("_"))


def _field(name: str, value: Any, *, short: bool) -> str:
    if name == "duration_ms" and isinstance(value, int | float):
        return f"took={value / 1000:.1f}s" if value >= 1000 else f"took={value:.0f}ms"
    if short and name.endswith("_id") and isinstance(value, str):
        # Ids say their kind in their beginning: task_6336c5a5…
        return f"{_SHORT.get(name, name)}={value.rpartition('_')[2][:_ID_CHARS]}"
    text = str(value)
    return f"{_SHORT.get(name, name)}={text!r}" if " " in text and isinstance(value, str) else f"{name}={text}"


def _fitted(head: str, fields: list[str]) -> str:
    line = head[:COLUMNS]
    for field in fields:
        if len(line) + 1 + len(field) <= COLUMNS:
            line = f"{line} {field}"
    return line
