"""The tool calls of one answer, put together from what servers send of them.

Guarantees
- The key of a call is index and id; a call is whole when its JSON is. So parallel calls are kept apart that all have
  index 0, the same id, no id or no index, and a call stays one whose id or name is said again with every piece.
- Each call is told under a number of its own, in the order in which they began, also one without arguments. Its first
  event has its id, if there is one, and its name, whole; the events' arguments, joined, are what the server said,
  without what it left behind their end.
- A piece that names no call belongs to the one that is being said, whatever its index; several of one chunk, to the
  calls at their places. One that says nothing is none. `{}` that other arguments follow was no more than a place for
  them.
- Nothing that is no call, or lacks a part, raises.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from sluiceway_llm.clean_text import MAX_ID_CHARS, MAX_NAME_CHARS, CleanText, TextJoiner, clean_value, label_of
from sluiceway_llm.model_events import ModelEvent, ToolCallDelta
from sluiceway_llm.reading.json_extent import JsonExtent
from sluiceway_llm.reading.offered_names import offered_name
from sluiceway_llm.reading.provided_fields import Room

_OF_A_CALL = frozenset({"index", "id", "type", "function", "custom"})
_ARGUMENTS = ("arguments", "parameters", "input")
_OF_A_FUNCTION = frozenset({"name", *_ARGUMENTS})
_EMPTY = "{}"
_NO_LABELS = frozenset({"null", "None", "undefined"})
"""What servers write that mean nothing by it."""
_MAX_CALLS = 256
_NO_NAME = CleanText("")


@dataclass(slots=True)
class _Call:
    number: int
    index: int | None
    id: CleanText | None = None
    name: CleanText = _NO_NAME
    # Whether it was told, and whether any of its arguments were.
    told: bool = False
    said: bool = False
    pieces: list[str] = field(default_factory=list)
    held: list[CleanText] = field(default_factory=list)
    extent: JsonExtent = field(default_factory=JsonExtent)
    joiner: TextJoiner = field(default_factory=TextJoiner)
    extras: dict[str, Any] = field(default_factory=dict)

    @property
    def begun(self) -> bool:
        """Whether anything was said of its arguments."""
        return bool(self.pieces)

    @property
    def says(self) -> bool:
        return bool(self.name or self.pieces)

    @property
    def holds_a_place(self) -> bool:
        """Whether its arguments are `{}`, and nobody was told so yet."""
        return self.extent.whole and not self.said and "".join(self.pieces).strip() == _EMPTY

    def has(self, arguments: str) -> bool:
        said = "".join(self.pieces)
        return said.strip() == arguments.strip() or _are_equal(said, arguments)

    def take_held(self) -> CleanText:
        held = CleanText("".join(self.held))
        self.held.clear()
        self.said = self.said or bool(held)
        return held

    def begin_again(self) -> None:
        self.pieces, self.held, self.extent = [], [], JsonExtent()


class CallAssembler:
    """`names`: of the tools that are offered; they tell a name in pieces from two names."""

    def __init__(self, names: Collection[str] = ()) -> None:
        self._names = names
        self._calls: list[_Call] = []
        self._by_index: dict[int | None, _Call] = {}
        self._by_id: dict[tuple[int | None, str], _Call] = {}
        self._last: _Call | None = None
        self._room = Room()

    @property
    def any(self) -> bool:
        return any(call.says for call in self._calls)

    @property
    def broken(self) -> bool:
        """Whether a call is there whose arguments have begun and are not whole."""
        return any(call.begun and not call.extent.whole and not _is_json(call.pieces) for call in self._calls)

    @property
    def extras(self) -> list[dict[str, Any]]:
        """What the server gave with each call, in the order of their numbers: its id, and fields that are its own."""
        calls = sorted((call for call in self._calls if call.says), key=lambda call: call.number)
        return [({"id": call.id} if call.id else {}) | clean_value(call.extras) for call in calls]

    def read_all(self, told: Any, events: list[ModelEvent]) -> None:
        """What a chunk says of calls: pieces or whole ones, in a list, by their numbers, or one alone."""
        if isinstance(told, str):
            told = _listed_in(told)
        if isinstance(told, dict) and "function" not in told and all(isinstance(one, dict) for one in told.values()):
            told = list(told.values())
        pieces = told if isinstance(told, list) else [told]
        meant = self._calls[-len(pieces) :] if len(pieces) > 1 and not any(map(_says_of_which, pieces)) else []
        for place, piece in enumerate(pieces):
            if place < len(meant):
                self._last = meant[place]
            self.read(piece, events)

    def read(self, told: Any, events: list[ModelEvent]) -> None:
        """A piece of a call, or a whole one."""
        if not isinstance(told, dict):
            return
        function = told.get("function") or told.get("custom")
        if not isinstance(function, dict):
            function = told
        index = _index_of(told.get("index"))
        call_id = _label_of(told.get("id"), MAX_ID_CHARS)
        if call_id in _NO_LABELS:
            call_id = None
        name = _label_of(function.get("name"), MAX_NAME_CHARS)
        if name in _NO_LABELS and name not in self._names:
            name = None
        arguments = _arguments_of(next((function[key] for key in _ARGUMENTS if function.get(key) is not None), None))
        call = self._call_of(index, call_id, name, arguments)
        if call is None:
            return
        if call_id is not None and call.id is None:
            call.id = call_id
            self._by_id[call.index, call_id] = call
        if name is not None:
            self._take_name(call, name)
        self._take_extras(call, told, function)
        if arguments:
            self._take_arguments(call, arguments, events)

    def close(self, events: list[ModelEvent]) -> None:
        """Tell what was held: calls without arguments, and what was said of calls without a name."""
        for call in self._calls:
            if not call.says:
                continue
            self._tell(call, CleanText(call.take_held() + call.joiner.rest()), events)

    def _call_of(
        self, index: int | None, call_id: CleanText | None, name: CleanText | None, arguments: str
    ) -> _Call | None:
        call = self._by_index.get(index) if index is not None else self._last
        if call is None and name is None and call_id is None and self._last is not None and not self._last.extent.whole:
            call = self._last  # some servers count the pieces
        if call_id is not None:
            known = self._by_id.get((index, call_id)) or self._by_id.get((None, call_id))
            if known is None and index is None:
                known = next((one for one in self._calls if one.id == call_id), None)
            call = known or call
        if call is not None and self._continues(call, call_id, name, arguments):
            self._last = call
            return call
        begun = self._begin(index, call_id)
        if begun is not None and call is not None and name is None and call_id is None:
            begun.name = call.name  # further arguments, and nothing that says of which call
        return begun

    def _begin(self, index: int | None, call_id: CleanText | None) -> _Call | None:
        if len(self._calls) >= _MAX_CALLS:
            return None
        call = _Call(self._number_for(index), index, call_id)
        self._calls.append(call)
        self._last = call
        if index is not None:
            self._by_index[index] = call
        if call_id is not None:
            self._by_id[index, call_id] = call
        return call

    def _number_for(self, index: int | None) -> int:
        """The server's number while that is free, so that calls stay in its order."""
        taken = [call.number for call in self._calls]
        return index if index is not None and index not in taken else max(taken, default=-1) + 1

    def _continues(self, call: _Call, call_id: CleanText | None, name: CleanText | None, arguments: str) -> bool:
        same_id = call_id is None or call_id == call.id
        if call.extent.whole:
            return _belongs_to_whole(call, same_id, name, arguments)
        if call_id is not None and call.id is None:
            # Its id comes late; or it never has one, and here begins another.
            same_id = name is None or not call.name or not (call.begun or self._are_two(call.name, name))
        if same_id:
            if name is None or not call.name or call_id is not None:
                return True
            return name == call.name if call.begun else not self._are_two(call.name, name)
        if name is None:
            return True  # some servers make an id for every piece
        return name == call.name and call.begun and bool(arguments.strip()) and not arguments.lstrip().startswith("{")

    def _are_two(self, name: str, other: str) -> bool:
        """Whether these are two tools' names, and not one in pieces, or said again."""
        if name == other or any(known.startswith(name + other) for known in self._names):
            return False
        return name in self._names and other in self._names

    def _take_name(self, call: _Call, name: CleanText) -> None:
        if call.told or name == call.name:
            return
        joined = call.name + name
        again = bool(call.name) and name.startswith(call.name)
        if again and not any(known.startswith(joined) for known in self._names):
            joined = name
        call.name = CleanText(joined[:MAX_NAME_CHARS])

    def _take_extras(self, call: _Call, told: dict[str, Any], function: dict[str, Any]) -> None:
        for key in told:
            if key not in _OF_A_CALL and not (function is told and key in _OF_A_FUNCTION):
                self._keep(call.extras, key, told[key])
        if function is not told:
            for key in function:
                if key not in _OF_A_FUNCTION:
                    self._keep(call.extras.setdefault("function", {}), key, function[key])

    def _keep(self, kept: dict[str, Any], key: str, value: Any) -> None:
        if value is None or not self._room.takes(value):
            return
        if isinstance(value, dict) and isinstance(kept.get(key), dict):
            kept[key].update(value)
        else:
            kept[key] = value

    def _take_arguments(self, call: _Call, arguments: str, events: list[ModelEvent]) -> None:
        if call.holds_a_place:
            call.begin_again()
        if call.extent.whole:
            return  # a repetition, or a brace too many
        length = call.extent.feed(arguments)
        mine, behind = arguments[:length], arguments[length:].strip()
        call.pieces.append(mine)
        if behind.startswith("{") and call.holds_a_place:
            self._take_arguments(call, behind, events)
            return
        call.held.append(call.joiner.feed(mine))
        if call.name:
            # At once, if without its arguments: it stands before those that come after it.
            self._tell(call, CleanText("") if call.holds_a_place else call.take_held(), events)
        if behind.startswith("{") and not call.has(behind):
            another = self._begin(call.index, None)
            if another is not None:
                another.name = call.name
                self._take_arguments(another, behind, events)

    def _tell(self, call: _Call, arguments: CleanText, events: list[ModelEvent]) -> None:
        if call.told:
            if arguments:
                events.append(ToolCallDelta(call.number, None, None, arguments))
            return
        for earlier in self._calls:
            if earlier is call:
                break
            if earlier.name:
                self._tell(earlier, CleanText(""), events)
        call.told = True
        name = offered_name(call.name, self._names) if call.name else None
        events.append(ToolCallDelta(call.number, call.id, CleanText(name) if name else None, arguments))


def _belongs_to_whole(call: _Call, same_id: bool, name: str | None, arguments: str) -> bool:
    """A whole call takes nothing more; but what it has may be said again, and some leave a brace behind its end."""
    if not arguments.strip():
        return same_id and (name is None or not call.name or name == call.name)
    if not same_id:
        return False
    of_it = name is None or (name == call.name and call.id is not None)
    if of_it and (call.holds_a_place or arguments.strip() == _EMPTY):
        return True
    if of_it and call.has(arguments):
        return True
    return name is None and not arguments.lstrip().startswith("{")


def _label_of(value: object, max_chars: int) -> CleanText | None:
    """A name or an id; some servers number their ids."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return label_of(value.strip(), max_chars) if isinstance(value, str) else None


def _index_of(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 6:
        return int(value)
    if isinstance(value, float) and value == value // 1 and abs(value) < 1e6:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _arguments_of(value: object) -> str:
    """Servers write them as JSON in a text; some as the object itself."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False) if value or value == {} else ""
    except RecursionError:
        return "[]"  # no tool takes that: the model is told


def _listed_in(text: str) -> Any:
    """The list, where it was written as a text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _says_of_which(piece: Any) -> bool:
    """Whether this names the call that it belongs to."""
    if not isinstance(piece, dict):
        return True
    function = piece.get("function")
    name = function.get("name") if isinstance(function, dict) else piece.get("name")
    return piece.get("index") is not None or bool(piece.get("id") or name)


def _are_equal(said: str, arguments: str) -> bool:
    try:
        return bool(json.loads(said) == json.loads(arguments))
    except (ValueError, RecursionError):
        return False


def _is_json(pieces: list[str]) -> bool:
    try:
        json.loads("".join(pieces))
    except (ValueError, RecursionError):
        return False
    return True
