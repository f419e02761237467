"""The entrance of every service: settings → secrets kept → logging → traces → its own `serve`, on uvloop."""

import os
import ssl
import sys
from collections.abc import Callable, Coroutine
from typing import TypeVar

import uvloop
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

from sluiceway.process.end_limit import end_within
from sluiceway.process.large_blocks import give_back_large_blocks
from sluiceway.process.logs import configure_logging
from sluiceway.process.secrecy import keep_secrets, secret_names
from sluiceway.process.secret_files import SecretFileUnreadable
from sluiceway.process.settings import CommonSettings, process_name
from sluiceway.tracing import exporting

S = TypeVar("S", bound=CommonSettings)
# Nothing is left to be done then, but to wait for tasks and threads that nobody asks any more, and to send last spans.
_LAST_SECONDS = 3.0


def run_service(component: str, settings_type: type[S], serve: Callable[[S], Coroutine[None, None, None]]) -> None:
    """Run until `serve` returns. Settings that are not valid end the process with exit code 1, and are named."""
    settings = valid_settings(component, settings_type)
    keep_secrets(secret_names(settings_type) | exporting.SECRET_VARIABLES, debuggable=settings.debuggable)
    give_back_large_blocks()
    configure_logging(component, settings.log_format, settings.log_level)
    end_traces = exporting.start(component, process_name())
    try:
        uvloop.run(_served(serve(settings)))
    finally:
        end_traces()


async def _served(serving: Coroutine[None, None, None]) -> None:
    try:
        await serving
    except BaseException:
        end_within(_LAST_SECONDS)
        raise
    end_within(_LAST_SECONDS, code=0)


def valid_settings(program: str, settings_type: type[S]) -> S:
    """Those of the environment. Ones that are not valid end the process, and are named."""
    try:
        settings = settings_type()
    except SettingsError as error:
        problem: str | None = f"{error}: a list or an object is written as JSON"
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        # A default that follows from what is at fault is no fault of its own.
        problem = "\n".join(_told(fault) for fault in faults if fault["type"] != "default_factory_not_called")
    except SecretFileUnreadable as error:
        problem = str(error)
    else:
        problem = _unreadable_certificates()
        if problem is None:
            return settings
    sys.exit(f"{program}: the settings are not valid:\n{problem}")


def _told(fault: ErrorDetails) -> str:
    """As the environment names it; without the value, which may be a secret."""
    name, *inside = [str(one) for one in fault["loc"]] or [""]
    where = f"{'.'.join([name.upper(), *inside])}: " if name else ""
    return f"{where}{fault['msg'].removeprefix('Value error, ')}"


def _unreadable_certificates() -> str | None:
    """Whom the process believes over TLS. The libraries that read it say which error it was, and not of which file."""
    path = os.environ.get("SSL_CERT_FILE")
    try:
        if path:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except OSError as error:
        return f"SSL_CERT_FILE: no certificates can be read from {path}: {error.strerror or error}"
    return None
