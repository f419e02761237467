"""How a tool is written: a class, or a function with a decorator, and a pydantic model of its arguments.

Guarantees
- `run` is called with arguments that fit `Input`, at most `concurrency` times at once in a process, and is cancelled
  at its timeout or when its turn ends. A synchronous function runs in a thread of its own, which is abandoned then.
- Whatever it raises ends this one operation with an error that the model gets to read, and nothing else.
Not guaranteed: that it runs once. Only a `repeatable` tool is run again after its process died; the others fail then.

    @tool(timeout_seconds=10)
    async def roll_dice(arguments: Dice) -> list[int]:
        "Roll some dice."
        return [random.randint(1, arguments.sides) for _ in range(arguments.count)]
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_type_hints, overload

from pydantic import BaseModel, ConfigDict
from sluiceway.wire.elicitation import Elicitation
from sluiceway.wire.tools import DEFAULT_QUEUE, ToolSpec

from tool_runner.tool.context import ToolContext
from tool_runner.tool.threads import run_in_thread

__all__ = ["Accepted", "NoArguments", "Tool", "ToolContext", "ToolFailed", "tool"]

I = TypeVar("I", bound=BaseModel)  # noqa: E741 - the contract's own name: what goes in
Function = Callable[..., Any]

LONG_QUEUE = "long"
QUICK_SECONDS = 60.0
LONG_SECONDS = 1800.0
_DEADLINE_SECONDS = 3600.0


class ToolFailed(Exception):
    """Raised by a tool whose work failed in a way that it knows. `type` is a stable code, `message` a sentence."""

    def __init__(self, message: str, type: str = "FAILED") -> None:  # noqa: A002 - the wire's name
        super().__init__(message)
        self.message = message
        self.type = type


@dataclass(frozen=True, slots=True)
class Accepted:
    """Returned by a tool whose work an outside service continues: its completion comes by webhook.

    A dictionary whose `status` is "accepted" means the same, whatever else is in it, and so does its JSON as a text.
    """


@dataclass(frozen=True, slots=True)
class InProgress:
    """Returned by a tool whose work an outside service continues that will not tell how it ended: `look` is called with
    the handle, which is JSON, after so many seconds; in another process, maybe."""

    handle: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True)
class AsksPerson:
    """Returned by `look` where the outside service asks a person: `look` is called again with the handle, and in it, as
    `answer`, what he said: {approved, reason?}. `otherwise`: what the model is told where nobody can be asked."""

    handle: Mapping[str, Any]
    elicitation: Elicitation
    otherwise: str


class NoArguments(BaseModel):
    """The input of a tool that takes none."""

    model_config = ConfigDict(extra="forbid")


class Tool(ABC, Generic[I]):
    """One tool. Its attributes may be set on the class or on the instance.

    `long`: it has half an hour instead of a minute, and its life is published as job events, unless `own_job_events`
    says that it sees to that itself. `approval`: a person must agree to each call. `timeout_seconds`: of one run.
    `deadline_seconds`: of the operation in all, waiting included. `repeatable`: running it twice does no harm, so it is
    run again when its process died. `concurrency`: it has a queue of its own, and runs so often at once in a process.
    `background`: it never blocks its turn. The model is told that it was started, and goes on; when it is done, a turn
    of its own answers with the result, at the end of the conversation. Of any tool TOOLS_IN_BACKGROUND says so, too.
    `text_field`: the argument that takes the text of `/tool_name some text`; by default the first required one that is
    a text.
    """

    name: str
    description: str
    Input: type[I]
    title: str | None = None
    long: bool = False
    own_job_events: bool = False
    approval: bool = False
    timeout_seconds: float | None = None
    deadline_seconds: float | None = None
    repeatable: bool = False
    concurrency: int | None = None
    background: bool = False
    text_field: str | None = None

    @abstractmethod
    async def run(self, arguments: I, context: ToolContext) -> Any:
        """Do the work. Answers JSON, a pydantic model, a dataclass, or `Accepted`. Raises whatever it likes."""

    async def look(self, handle: Mapping[str, Any], context: ToolContext) -> Any:
        """What became of the work that `run` answered `InProgress` to: as `run` answers, or `InProgress` again, or
        `AsksPerson`."""
        raise NotImplementedError

    async def give_up(self, handle: Mapping[str, Any]) -> None:
        """Nobody wants that work any more. Raises nothing that matters."""

    def schema(self) -> dict[str, Any]:
        """The JSON schema of the arguments, an object's."""
        return self.Input.model_json_schema()

    def read(self, arguments: Any) -> I:
        """The arguments as the model called with them, checked. Raises pydantic's ValidationError, or ToolFailed."""
        return self.Input.model_validate(arguments)

    @property
    def queue(self) -> str:
        """The queue that its operations wait in. Long ones have another than quick ones, which they would hold up."""
        if self.concurrency is not None:
            return self.name
        return LONG_QUEUE if self.long else DEFAULT_QUEUE

    @property
    def seconds(self) -> float:
        """How long one run may take."""
        if self.timeout_seconds is not None:
            return self.timeout_seconds
        return LONG_SECONDS if self.long else QUICK_SECONDS

    def spec(self, *, approval: bool = False, background: bool = False) -> ToolSpec:
        """Its entry of the catalogue. Raises ValidationError where an attribute is not valid."""
        schema = self.schema()
        return ToolSpec(
            name=self.name,
            description=self.description,
            parameters=schema,
            title=self.title,
            queue=self.queue,
            approval=self.approval or approval,
            background=self.background or background,
            deadline_seconds=self.deadline_seconds or max(_DEADLINE_SECONDS, 2 * self.seconds),
            text_field=self.text_field or _first_required_text(schema),
        )


AnyTool = Tool[Any]


class FunctionTool(Tool[BaseModel]):
    """A function that was made a tool by the decorator. It can still be called as the function that it is."""

    def __init__(self, function: Function, **attributes: Any) -> None:
        unknown = attributes.keys() - _ATTRIBUTES
        if unknown:
            raise TypeError(f"a tool has no attribute {sorted(unknown)[0]!r}")
        self._function = function
        self.defined_in = function.__module__
        self._is_async = inspect.iscoroutinefunction(function)
        self.Input, self._takes_input, self._takes_context = _parameters_of(function)
        self.name = function.__name__
        self.description = inspect.getdoc(function) or ""
        for name, value in attributes.items():
            setattr(self, name, value)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._function(*arguments, **named)

    async def run(self, arguments: BaseModel, context: ToolContext) -> Any:
        given = [arguments] if self._takes_input else []
        named = {"context": context} if self._takes_context else {}
        if self._is_async:
            return await self._function(*given, **named)
        return await run_in_thread(self._function, *given, **named)


@overload
def tool(function: Function, /) -> FunctionTool: ...


@overload
def tool(
    *,
    name: str = ...,
    description: str = ...,
    title: str = ...,
    long: bool = ...,
    own_job_events: bool = ...,
    approval: bool = ...,
    timeout_seconds: float = ...,
    deadline_seconds: float = ...,
    repeatable: bool = ...,
    concurrency: int = ...,
    background: bool = ...,
    text_field: str = ...,
) -> Callable[[Function], FunctionTool]: ...


def tool(function: Function | None = None, /, **attributes: Any) -> FunctionTool | Callable[[Function], FunctionTool]:
    """Make a function a tool. Its one parameter is a pydantic model; a second one, `context`, gets the ToolContext.

    Keywords are the attributes of `Tool`; name and description are the function's own unless they are given. Raises
    TypeError where the function has other parameters.
    """
    if function is not None:
        return FunctionTool(function)
    return lambda decorated: FunctionTool(decorated, **attributes)


_ATTRIBUTES = frozenset(Tool.__annotations__) - {"Input"}


def _parameters_of(function: Function) -> tuple[type[BaseModel], bool, bool]:
    """Its input model, whether it takes that, and whether it takes a context."""
    names = list(inspect.signature(function).parameters)
    hints = get_type_hints(function)
    takes_context = "context" in names
    rest = [name for name in names if name != "context"]
    if not rest:
        return NoArguments, False, takes_context
    model = hints.get(rest[0])
    if len(rest) > 1 or not (inspect.isclass(model) and issubclass(model, BaseModel)):
        raise TypeError(f"{function.__name__}: a tool takes one pydantic model, and may take `context`")
    return model, True, takes_context


def _first_required_text(schema: dict[str, Any]) -> str | None:
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    for name, about in properties.items():
        # A schema may be a mere true: anything goes.
        if name in required and isinstance(about, dict) and about.get("type") == "string":
            return str(name)
    return None
