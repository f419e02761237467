"""The body of a request to the chat API: what is asked, in the words that this model of this server takes."""

from typing import Any

from sluiceway_llm.asking.answer_format import RESPONSE_FORMAT, response_format
from sluiceway_llm.asking.continuation import PrefixDialect, continuing
from sluiceway_llm.asking.manners import Body, Manners
from sluiceway_llm.model_events import ModelRequest


def chat_request(request: ModelRequest, manners: Manners, continuation: PrefixDialect | None) -> Body:
    messages = manners.fitted(request)
    tools = manners.tools(request, messages)
    optional = {
        **tools,
        "reasoning_effort": manners.effort(tools),
        "user": request.user,
        **manners.tracing(request),
        "temperature": request.temperature,
        RESPONSE_FORMAT: response_format(request.answer_format),
        manners.dialect.limit_name: request.max_tokens,
    }
    body = {
        "model": request.model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        **{name: value for name, value in optional.items() if value is not None},
    }
    return {**manners.worded(body, request), **_beginning(request, messages, continuation), **request.extra_body}


def _beginning(request: ModelRequest, messages: list[dict[str, Any]], continuation: PrefixDialect | None) -> Body:
    if not request.prefix:
        return {}
    if continuation is None:
        raise ValueError("this server is not known to continue an answer")
    return continuing(continuation, messages, request.prefix)
