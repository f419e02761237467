"""What a task of an MCP server asks its user, as an approval; and what a person said, as the protocol's answer.

A person says yes or no. So a form can be answered where a yes says all that it asks: it asks for nothing, for one yes
or no, or for what has a default. One field more is taken from the reason that he gives. Of a page that he is to visit a
yes says that he has. Everything else cannot be asked here, and neither can what is for a model or a file system.

Source: the Model Context Protocol, elicitation, 2025-11-25 and 2026-07-28.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from mcp import types
from mcp.client import ClientRequestContext
from sluiceway.wire.elicitation import Elicitation, ElicitedField
from sluiceway.wire.json_values import clean_json, clean_text

from tool_runner.mcp.shown_words import one_line

_MAX_MESSAGE_CHARS = 2000
_MAX_TITLE_CHARS = 100
_MAX_OPTIONS, _MAX_OPTION_CHARS = 50, 200
_MAX_NAME_CHARS = 200
_MAX_URL_CHARS = 2000
_MAX_CONTENT_CHARS = 4000
_TYPED = ("string", "number", "integer")


class NotAnswerable(Exception):
    """No approval answers it."""


@dataclass(frozen=True, slots=True)
class _Form:
    """`content`: what a yes says; `field`: what has to be said beside it."""

    content: dict[str, Any]
    field: ElicitedField | None = None


def elicitation_of(request: Any, source: str) -> Elicitation:
    """Without the id of its approval. Raises NotAnswerable."""
    params = request.get("params") if isinstance(request, dict) else None
    if not isinstance(params, dict) or request.get("method") != "elicitation/create":
        raise NotAnswerable
    url, form = None, _Form({})
    if params.get("mode") == "url":
        url = _page(params.get("url"))
    else:
        form = _form(clean_json(params.get("requestedSchema")))
    message = one_line(params.get("message"), _MAX_MESSAGE_CHARS)
    return Elicitation(source=source, message=message, content=form.content, field=form.field, url=url)


def answer_to(elicitation: Elicitation, said: Mapping[str, Any]) -> dict[str, Any]:
    """The protocol's ElicitResult. Raises ValueError, with a sentence: the reason is no value of the field."""
    if said.get("approved") is not True:
        return {"action": "decline"}
    if elicitation.url is not None:
        return {"action": "accept"}
    content = dict(elicitation.content)
    if elicitation.field is not None:
        content[elicitation.field.name] = _value_of(elicitation.field, str(said.get("reason") or "").strip())
    return {"action": "accept", "content": content}


async def not_in_a_call(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ErrorData:
    """What a server is told that asks while a call waits for it. That this client takes elicitations is said for its
    tasks; a call would hold a slot of its runner until somebody answers."""
    message = f"Only a person can say that, and only a task can ask one: {one_line(params.message, _MAX_MESSAGE_CHARS)}"
    return types.ErrorData(code=types.INVALID_REQUEST, message=message)


def _form(schema: Any) -> _Form:
    fields = schema.get("properties") or {} if isinstance(schema, dict) else {}
    if not isinstance(fields, dict) or not all(isinstance(one, dict) for one in fields.values()):
        raise NotAnswerable
    yes_or_no = [name for name, one in fields.items() if one.get("type") == "boolean"]
    content: dict[str, Any] = {yes_or_no[0]: True} if len(yes_or_no) == 1 else {}
    content |= {name: one["default"] for name, one in fields.items() if "default" in one and name not in content}
    missing = [name for name in _required(schema) if name not in content]
    if len(missing) > 1 or len(json.dumps(content)) > _MAX_CONTENT_CHARS:
        raise NotAnswerable
    return _Form(content, _field(missing[0], fields.get(missing[0])) if missing else None)


def _required(schema: Any) -> list[str]:
    required = schema.get("required") or [] if isinstance(schema, dict) else []
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise NotAnswerable
    return required


def _field(name: str, schema: Any) -> ElicitedField:
    if not isinstance(schema, dict) or schema.get("type") not in _TYPED:
        raise NotAnswerable
    named = schema.get("oneOf")
    options = [one.get("const") for one in named if isinstance(one, dict)] if isinstance(named, list) else []
    options = options or schema.get("enum") or []
    if not isinstance(options, list) or len(options) > _MAX_OPTIONS or len(name) > _MAX_NAME_CHARS:
        raise NotAnswerable
    if not all(isinstance(one, str) and len(one) <= _MAX_OPTION_CHARS for one in options):
        raise NotAnswerable
    title = one_line(schema.get("title") or name, _MAX_TITLE_CHARS)
    return ElicitedField(name=name, title=title, type=schema["type"], options=tuple(options))


def _value_of(field: ElicitedField, said: str) -> Any:
    if not said:
        raise ValueError(f"{field.title} is needed.")
    if field.options and said not in field.options:
        raise ValueError(f"{field.title} is one of: {', '.join(field.options)}.")
    if field.type == "string":
        return said
    try:
        number = int(said) if field.type == "integer" else float(said)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{field.title} is a number.")
    return number


def _page(url: Any) -> str:
    """An address that a person may be shown."""
    if not isinstance(url, str) or len(url) > _MAX_URL_CHARS or url != clean_text(url):
        raise NotAnswerable
    try:
        split = urlsplit(url)
        if split.scheme not in ("http", "https") or not split.hostname:
            raise NotAnswerable
    except ValueError as error:
        raise NotAnswerable from error
    return url
