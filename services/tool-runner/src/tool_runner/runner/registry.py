"""The tools of this process, by name: its own, which stay, and those of sources, which come and go.

Guarantees: a name means one tool; where two have it the first one stays, and an error is logged. A tool whose
description is not valid is left out with an error, and stops no other. All descriptions together have at most
`max_offered_bytes`: those that come last are left out. `left_out` says which are not offered, and why.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import ValidationError
from sluiceway.operation.input_schema import InputSchema, UnfitSchema
from sluiceway.process.few_lines import FewLines
from sluiceway.process.logs import get_logger
from sluiceway.wire.json_values import clean_json
from sluiceway.wire.tools import DEFAULT_QUEUE, ToolSpec

from tool_runner.settings import Settings
from tool_runner.tool.definition import LONG_QUEUE, AnyTool

_MAX_SPEC_BYTES = 48 * 1024
_MAX_NAME_CHARS = 64
_MOST_REMEMBERED = 2000
_MOST_TOLD = 100


class ToolSource(Protocol):
    """Where tools come and go, such as the MCP servers. `run` is its one task, until it is cancelled."""

    def tools(self) -> Sequence[AnyTool]:
        """Those that can be called now. They have no `concurrency`: the queues are known from the start."""

    def left_out(self) -> Mapping[str, str]:
        """Those that are not offered, with why."""

    async def run(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Described:
    """`size`: in bytes, as JSON."""

    spec: ToolSpec
    size: int


class Registry:
    """What can be run here. `tools` in the order in which they win a name."""

    def __init__(self, settings: Settings, tools: Sequence[AnyTool], sources: Sequence[ToolSource] = ()) -> None:
        self._disabled = frozenset(settings.tools_disabled)
        self._needing_approval = frozenset(settings.tools_needing_approval)
        self._in_background = frozenset(settings.tools_in_background)
        self._sources = sources
        self._slots = settings.worker_slots
        self._long_slots = settings.long_slots
        # By object: a tool that comes again is the same one, and a tool without a spec was refused.
        self._specs: dict[AnyTool, _Described | None] = {}
        self._complained: set[AnyTool] = set()
        self._max_bytes = settings.max_offered_bytes
        self._left_out: dict[str, str] = {}
        self._too_many: dict[str, str] = {}
        self._changes = FewLines()
        self._own: dict[str, AnyTool] = {}
        self._own = self._named(tools)
        known = self._own.keys() | {getattr(one, "name", None) for one in tools}
        for name in sorted((self._disabled | self._needing_approval | self._in_background) - known):
            # A slip, or a tool of a source that is not there yet.
            get_logger().warning("setting_names_unknown_tool", tool=name)

    def get(self, name: str) -> AnyTool | None:
        """The tool of that name, if it can be run now."""
        return self._own.get(name) or self._coming_and_going().get(name)

    def specs(self) -> list[ToolSpec]:
        """What is to be announced now."""
        all_of_them = {**self._own, **self._coming_and_going()}
        self._forget(all_of_them.values())
        return self._fitting([spec for one in all_of_them.values() if (spec := self._spec(one)) is not None])

    def left_out(self) -> dict[str, str]:
        """The tools that are not offered although somebody has them, with why."""
        return {
            **{name: reason for source in self._sources for name, reason in source.left_out().items()},
            **self._left_out,
            **self._too_many,
        }

    def details(self) -> dict[str, object]:
        """For whoever asks whether the process is ready."""
        left_out = dict(sorted(self.left_out().items())[:_MOST_TOLD])
        return {"tools_left_out": left_out} if left_out else {}

    def queues(self) -> dict[str, int]:
        """The queues to be read, with how many operations of each may run at once."""
        own = {one.queue: one.concurrency for one in self._own.values() if one.concurrency is not None}
        return {DEFAULT_QUEUE: self._slots, LONG_QUEUE: self._long_slots, **own}

    def _coming_and_going(self) -> dict[str, AnyTool]:
        return self._named(one for source in self._sources for one in source.tools())

    def _forget(self, present: Iterable[AnyTool]) -> None:
        """What is known of tools that a source has no more: a server may list others every minute."""
        if self._sources and len(self._specs) > _MOST_REMEMBERED:
            kept = {*present, *self._own.values()}
            self._specs = {one: spec for one, spec in self._specs.items() if one in kept}
            self._complained &= kept

    def _fitting(self, described: Sequence["_Described"]) -> list[ToolSpec]:
        """As many as fit into the limit, the first ones first."""
        fitting: list[ToolSpec] = []
        too_many: dict[str, str] = {}
        left = self._max_bytes
        for one in described:
            left -= one.size
            if left >= 0:
                fitting.append(one.spec)
            else:
                too_many[one.spec.name] = f"all tools together have more than {self._max_bytes} bytes"
        if too_many.keys() != self._too_many.keys():
            self._changes.warning("tools_left_out", tools=sorted(too_many), max_offered_bytes=self._max_bytes)
        self._too_many = too_many
        return fitting

    def _named(self, tools: Iterable[AnyTool]) -> dict[str, AnyTool]:
        """The valid ones by name, the first of each name, where no tool of our own has it."""
        named: dict[str, AnyTool] = {}
        for one in tools:
            if self._spec(one) is None or one.name in self._disabled:
                continue
            first = self._own.get(one.name) or named.setdefault(one.name, one)
            if first is not one and one not in self._complained:
                self._complained.add(one)
                get_logger().error("tool_name_taken", tool=one.name)
        return named

    def _spec(self, one: AnyTool) -> "_Described | None":
        if one not in self._specs:
            self._specs[one] = self._described(one)
        return self._specs[one]

    def _described(self, one: AnyTool) -> "_Described | None":
        name = getattr(one, "name", type(one).__name__)
        try:
            _check_concurrency(one)
            return _described(one.spec(approval=name in self._needing_approval, background=name in self._in_background))
        except ValidationError as error:
            reason = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        except Exception as error:  # noqa: BLE001 - whatever somebody's tool does, the others are offered
            reason = f"{type(error).__name__}: {error}"
        get_logger().error("tool_not_valid", tool=str(name), reason=reason)
        self._left_out[str(name)[:_MAX_NAME_CHARS]] = reason
        return None


def _described(spec: ToolSpec) -> _Described:
    InputSchema(spec.parameters)
    spec = ToolSpec.model_validate(clean_json(spec.model_dump()))
    size = len(spec.model_dump_json().encode())
    if size > _MAX_SPEC_BYTES:
        raise UnfitSchema(f"its description has {size} bytes, and at most {_MAX_SPEC_BYTES} are taken")
    return _Described(spec, size)


def _check_concurrency(one: AnyTool) -> None:
    if one.concurrency is not None and one.concurrency < 1:
        raise ValueError("concurrency must be at least 1")
    if one.concurrency is not None and one.name in (DEFAULT_QUEUE, LONG_QUEUE):
        raise ValueError(f"a tool with a queue of its own cannot be called {one.name}")
