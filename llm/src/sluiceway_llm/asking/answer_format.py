"""The form of an answer, in the words of servers that can hold a model to it. Others refuse it, which is learned."""

from collections.abc import Mapping
from typing import Any

RESPONSE_FORMAT = "response_format"


def response_format(form: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Of chat completions."""
    if form is None:
        return None
    return {"type": "json_schema", "json_schema": {"name": form["name"], "schema": form["schema"], **_strict(form)}}


def text_format(form: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Of the Responses API."""
    if form is None:
        return None
    return {"format": {"type": "json_schema", "name": form["name"], "schema": form["schema"], **_strict(form)}}


def _strict(form: Mapping[str, Any]) -> dict[str, bool]:
    return {"strict": True} if form.get("strict") else {}
