"""How one model of one server is spoken to: its dialect, what settings say of it, and what it has taught us."""

import hashlib
from collections.abc import Mapping
from typing import Any

from sluiceway_llm.asking.asker import SESSION, TRACE, filled, fits_header, headers_for, trace_id_of
from sluiceway_llm.asking.dialects import DIALECTS, GENERIC, Dialect, dialect_of_answer, dialect_of_host
from sluiceway_llm.asking.history import Wants, fitted, names_of_calls
from sluiceway_llm.asking.lessons import Lessons
from sluiceway_llm.asking.pictures import takes_pictures
from sluiceway_llm.asking.server_options import ServerOptions
from sluiceway_llm.asking.tool_schemas import fitted_tools
from sluiceway_llm.model_events import ModelRequest

Body = dict[str, Any]


class Manners:
    def __init__(self, base_url: str, model: str, options: ServerOptions) -> None:
        self.options = options
        self.lessons = Lessons()
        self._takes_pictures = takes_pictures(model) if options.pictures is None else options.pictures
        self._known = DIALECTS[options.dialect] if options.dialect is not None else dialect_of_host(base_url)
        self._seen: Dialect | None = None
        self.thinks_first = False
        """Its thoughts come first, and only their end is told: see unopened_thoughts.py."""
        # Not the address itself: it is stored with messages that browsers get.
        place = base_url if self._known == GENERIC else self._known.name
        self.by = hashlib.sha256(f"{place} {model}".encode()).hexdigest()[:16]

    @property
    def dialect(self) -> Dialect:
        return self._seen or self._known

    @property
    def takes_pictures(self) -> bool:
        return self._takes_pictures and not self.lessons.no_pictures

    def answered(self, headers: Mapping[str, str]) -> None:
        """Look whose answer it is, where neither a setting nor the address says so."""
        if self._known == GENERIC and self._seen is None and self.options.dialect is None:
            self._seen = dialect_of_answer(headers)

    def fitted(self, request: ModelRequest) -> list[dict[str, Any]]:
        """The messages as this server takes them."""
        return fitted(request.messages, self._wants(request))

    def tools(self, request: ModelRequest, messages: list[dict[str, Any]]) -> Body:
        """`tools` and `tool_choice`. Servers want tools where messages have calls, also where none is to be called."""
        if not self._tools_are_known(request):
            return {}
        if request.tools:
            choice = {} if request.tool_choice is None else {"tool_choice": request.tool_choice}
            tools = request.tools[: self.lessons.most_tools]
            return {"tools": fitted_tools(tools, self.lessons.schemas or self.dialect.schemas), **choice}
        called = names_of_calls(messages)
        if not called:
            return {}
        return {"tools": [_known_by_name(name) for name in called], "tool_choice": "none"}

    def headers(self, request: ModelRequest) -> dict[str, str]:
        """Beside those that every request has: the session and the trace, which strict servers ignore in headers."""
        told = {SESSION: request.session_id, TRACE: request.traceparent}
        wanted = {name: value for name, value in told.items() if name not in self.options.drop}
        tracing = {name: value for name, value in wanted.items() if value and fits_header(value)}
        return {**tracing, **headers_for(self.options.headers, request), **request.headers}

    def tracing(self, request: ModelRequest) -> Body:
        """The same in the body, for servers that look there."""
        match self.dialect.tracing:
            case "session_id":
                return {"session_id": request.session_id}
            case "metadata":
                told = {"session_id": request.session_id, "trace_id": trace_id_of(request.traceparent)}
                return {"metadata": {name: value for name, value in told.items() if value} or None}
            case "headers":
                return {}

    def effort(self, tools: Body) -> str | None:
        """How much the model is to think; None: as it likes."""
        return self.lessons.effort(self.options.reasoning_effort, with_tools=bool(tools.get("tools")))

    def worded(self, body: Body, request: ModelRequest) -> Body:
        """The parameters under the names that this server knows, without those that it refuses."""
        left_out = self.dialect.drops | self.lessons.dropped | self.options.drop
        if self.lessons.no_stream:
            left_out |= {"stream", "stream_options"}
        renamed = {**self.lessons.renamed, **self.options.rename}
        kept = {name: value for name, value in body.items() if name not in self.options.drop}
        worded = {renamed.get(name, name): value for name, value in kept.items()}
        added: Body = filled(dict(self.options.extra_body), request)
        return {name: value for name, value in worded.items() if name not in left_out} | added

    def _tools_are_known(self, request: ModelRequest) -> bool:
        refused = self.dialect.drops | self.lessons.dropped | self.options.drop
        if not request.tool_messages or self.lessons.no_tools or "tools" in refused:
            return False
        # Where it cannot be told not to call, it is not shown what it could call.
        return request.tool_choice != "none" or "tool_choice" not in refused

    def _wants(self, request: ModelRequest) -> Wants:
        lessons = self.lessons
        return Wants(
            by=self.by,
            returns=self.dialect.returns,
            refuses=lessons.refused_fields,
            nine_ids=lessons.nine_ids or self.dialect.ids == "nine",
            tools=self._tools_are_known(request),
            system=not lessons.no_system,
            null_content=not lessons.no_null_content,
            all_reasoning=lessons.all_reasoning,
            reasoning_everywhere=lessons.reasoning_everywhere,
            turns=lessons.turns or self.dialect.turns,
            signed=lessons.signed or self.dialect.name == "gemini",
            pictures=self.takes_pictures,
            unfit=frozenset(lessons.unfit_pictures),
        )


def _known_by_name(name: str) -> Body:
    function = {
        "name": name,
        "description": "Not to be called now.",
        "parameters": {"type": "object", "properties": {}},
    }
    return {"type": "function", "function": function}
