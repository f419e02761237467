"""Structured logs: one event a line, as JSON or, for people, as console.py writes it.

Fields are bound where a message or request enters (`bound`), and every line below carries them. Message text and
secrets are never logged, in neither format: see tracebacks.py for what is told of an exception.
"""

import hashlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Literal, cast

import structlog
from structlog.typing import EventDict, ExcInfo, FilteringBoundLogger, Processor, WrappedLogger

from sluiceway.process.console import ConsoleLines
from sluiceway.process.tracebacks import traceback_of
from sluiceway.tracing.spans import trace_id_of

Logger = FilteringBoundLogger


def configure_logging(component: str, log_format: Literal["json", "console"], level: str) -> None:
    """Set up structlog, and route what libraries log through it. `component` is on every line."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True)
        if log_format == "json"
        else structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
    ]
    renderer: list[Processor] = [
        structlog.processors.ExceptionRenderer(_traceback),
        structlog.processors.JSONRenderer() if log_format == "json" else ConsoleLines(whole=number <= logging.DEBUG),
    ]
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _without_reprs],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
    structlog.contextvars.bind_contextvars(component=component)
    sys.excepthook = _say_why_it_ends


def get_logger() -> Logger:
    return cast("Logger", structlog.get_logger())


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Every line inside carries these fields; those that are None are left out."""
    with structlog.contextvars.bound_contextvars(**{k: v for k, v in fields.items() if v is not None}):
        yield


def note(**fields: Any) -> None:
    """What was learnt of the request or message at hand: it is on all lines that follow. Those that are None are left
    out."""
    structlog.contextvars.bind_contextvars(**{k: v for k, v in fields.items() if v is not None})


def user_hash(user_id: str | None) -> str | None:
    """What stands in a log for a user: the same for all lines of one, and no name or address of a person."""
    return hashlib.sha256(user_id.encode()).hexdigest()[:12] if user_id is not None else None


def joined(traceparent: str | None, user_id: str | None) -> dict[str, str]:
    """What joins a line to the others of its trace and user, where that is not bound."""
    fields = {"trace_id": trace_id_of(traceparent), "user": user_hash(user_id)}
    return {name: value for name, value in fields.items() if value is not None}


def _traceback(exc_info: ExcInfo) -> str:
    return traceback_of(exc_info[1])


def _without_reprs(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """asyncio tells of a forgotten exception with the repr of its task, and so with the exception's words."""
    record = event.get("_record")
    if record is not None and record.name == "asyncio":
        event["event"] = str(event["event"]).partition("\n")[0]
    return event


def _say_why_it_ends(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    print(traceback_of(error), file=sys.stderr, flush=True)
