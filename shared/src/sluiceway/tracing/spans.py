"""Making spans. They are recorded where `exporting.start` has switched that on; else nothing of OpenTelemetry is even
imported, and a span costs a function call.

Guarantees
- A span has names, numbers and ids: never a message's text, a tool's input or output, nor the words of an exception.
- The trace goes with the work: a span that is begun inside another one is its child, and queue entries carry their
  span's `traceparent` (W3C Trace Context) to whoever takes them.
- Whether a trace is recorded is decided where it begins, and once.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, Protocol

from sluiceway.tracing import names

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Attributes = Mapping[str, str | int | float | bool | Sequence[str] | None]

# Zeros are no id, says W3C Trace Context.
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_NO_ATTRIBUTES: Attributes = {}


class Span:
    """One that is not recorded. `traceparent`: what others continue; None: there is no trace."""

    traceparent: str | None = None

    def set(self, attributes: Attributes, *, name: str | None = None) -> None:
        """Add what is known by now; what is None is left out. `name`: a better one."""

    def event(self, name: str, attributes: Attributes) -> None:
        """Something happened inside."""

    def fail(self, kind: str) -> None:
        """It did not do what it should. `kind`: a code."""

    def ended(self, status: str, code: str | int | None) -> None:
        """How a turn or an operation came out of it. `code`: why it failed."""
        self.set({names.STATUS: status})
        if code is not None:
            self.fail(str(code))

    def end(self) -> None: ...


class Tracer(Protocol):
    def begin(self, name: str, kind: Kind, parent: str | None, link: str | None) -> Span: ...


_NONE = Span()
_current: ContextVar[Span] = ContextVar("span", default=_NONE)
_tracer: Tracer | None = None


def record_with(tracer: Tracer | None) -> None:
    """From here on this process records its spans with it; None: it records none."""
    # As with logging: all of a process is traced, or nothing.
    global _tracer
    _tracer = tracer


@contextmanager
def span(
    name: str,
    kind: Kind = "internal",
    attributes: Attributes = _NO_ATTRIBUTES,
    *,
    parent: str | None = None,
    link: str | None = None,
) -> Iterator[Span]:
    """A span around what is inside, below `parent`; without one below that which it is inside of; else it begins a
    trace. `link`: a span of another trace that has to do with it."""
    if _tracer is None:
        yield _NONE
        return
    begun = _tracer.begin(name, kind, parent if is_traceparent(parent) else _current.get().traceparent, link)
    begun.set(attributes)
    token = _current.set(begun)
    try:
        yield begun
    except BaseException as error:
        begun.fail(str(getattr(error, "code", type(error).__name__)))
        raise
    finally:
        _current.reset(token)
        begun.end()


@contextmanager
def continued(
    name: str,
    parent: str | None,
    kind: Kind = "internal",
    attributes: Attributes = _NO_ATTRIBUTES,
    *,
    link: str | None = None,
) -> Iterator[Span]:
    """As `span`, where there is a trace to continue; it begins none."""
    if _tracer is None or not is_traceparent(parent):
        yield _NONE
        return
    with span(name, kind, attributes, parent=parent, link=link) as begun:
        yield begun


@contextmanager
def processing(queue: str, entry_id: str, parent: str | None, attributes: Attributes) -> Iterator[Span]:
    """Around the handling of a queue entry. `parent`: what the entry carries."""
    told = {
        names.MESSAGING_SYSTEM: "redis",
        names.MESSAGING_OPERATION_TYPE: "process",
        names.MESSAGING_OPERATION_NAME: "process",
        names.MESSAGING_DESTINATION: queue,
        names.MESSAGING_MESSAGE_ID: entry_id,
    }
    with continued(names.processing(queue), parent, "consumer", told) as begun:
        begun.set(attributes)
        yield begun


@contextmanager
def model_call(model: str, session_id: str | None, purpose: str) -> Iterator[Span]:
    """Around a call of a model with its retries. `purpose`: "answer", or what else it is for."""
    told = {
        names.GEN_AI_OPERATION: "chat",
        # The protocol: whose servers speak it is not known here.
        names.GEN_AI_PROVIDER: "openai",
        names.GEN_AI_REQUEST_MODEL: model,
        names.GEN_AI_CONVERSATION: session_id,
        names.PURPOSE: purpose,
    }
    with span(names.chat(model), "client", told) as begun:
        yield begun


def current() -> Span:
    """The innermost span around this; one that records nothing, where there is none."""
    return _current.get()


def within(traceparent: str | None) -> str | None:
    """What work of that trace is to carry on: the current span, where it belongs to the trace; else the given one."""
    here = _current.get().traceparent
    return here if here is not None and trace_id_of(here) == trace_id_of(traceparent) else traceparent


def is_traceparent(text: str | None) -> bool:
    """Whether it is well-formed."""
    return text is not None and _TRACEPARENT.fullmatch(text) is not None


def trace_id_of(traceparent: str | None) -> str | None:
    """The trace's id in a W3C traceparent; None where it is none."""
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent is not None else None
    return found[1] if found is not None else None
