"""The tools of this process, by name: its own, which stay, and those of sources, which come and go.

Guarantees: a name means one tool; where two have it the first one stays, and an error is logged. A tool whose
description is not valid is left out with an error, and stops no other.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from pydantic import ValidationError
from sluiceway.logs import get_logger
from sluiceway.tools import DEFAULT_QUEUE, ToolSpec

from tool_runner.settings import Settings
from tool_runner.tool import Tool

AnyTool = Tool[Any]


class ToolSource(Protocol):
    """Where tools come and go, such as the MCP servers. `run` is its one task, until it is cancelled."""

    def tools(self) -> Sequence[AnyTool]:
        """Those that can be called now. They wait in the default queue."""

    def get(self, name: str) -> AnyTool | None:
        """The tool of that name, also one that is not there at the moment, when a call may wait for it."""

    async def run(self) -> None: ...


class Registry:
    """What can be run here. `tools` in the order in which they win a name."""

    def __init__(self, settings: Settings, tools: Iterable[AnyTool], sources: Sequence[ToolSource] = ()) -> None:
        self._disabled = frozenset(settings.tools_disabled)
        self._needing_approval = frozenset(settings.tools_needing_approval)
        self._sources = sources
        self._slots = settings.worker_slots
        # By object: a tool that comes again is the same one, and a tool without a spec was refused.
        self._specs: dict[AnyTool, ToolSpec | None] = {}
        self._complained: set[AnyTool] = set()
        self._own: dict[str, AnyTool] = {}
        self._own = self._named(tools)
        unknown = sorted((self._disabled | self._needing_approval) - self._own.keys()) if not sources else []
        for name in unknown:
            get_logger().warning("setting_names_unknown_tool", tool=name)

    def get(self, name: str) -> AnyTool | None:
        """The tool of that name, if it can be run now."""
        if name in self._own:
            return self._own[name]
        found = (source.get(name) for source in self._sources)
        return self._named(one for one in found if one is not None).get(name)

    def specs(self) -> list[ToolSpec]:
        """What is to be announced now."""
        coming_and_going = self._named(one for source in self._sources for one in source.tools())
        all_of_them = {**self._own, **coming_and_going}
        return [spec for spec in (self._spec(one) for one in all_of_them.values()) if spec is not None]

    def queues(self) -> dict[str, int]:
        """The queues to be read, with how many operations of each may run at once."""
        own = {one.queue: one.concurrency for one in self._own.values() if one.concurrency is not None}
        return {DEFAULT_QUEUE: self._slots, **own}

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

    def _spec(self, one: AnyTool) -> ToolSpec | None:
        if one not in self._specs:
            self._specs[one] = self._described(one)
        return self._specs[one]

    def _described(self, one: AnyTool) -> ToolSpec | None:
        name = getattr(one, "name", type(one).__name__)
        try:
            if one.concurrency is not None and one.concurrency < 1:
                raise ValueError("concurrency must be at least 1")  # noqa: TRY301 - one place for what is not valid
            return one.spec(approval=name in self._needing_approval)
        except ValidationError as error:
            reason = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        except Exception as error:  # noqa: BLE001 - whatever somebody's tool does, the others are offered
            reason = f"{type(error).__name__}: {error}"
        get_logger().error("tool_not_valid", tool=str(name), reason=reason)
        return None
