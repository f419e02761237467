"""What a server says of itself and its models, beside any answer: that it is there, and their windows."""

import asyncio

import openai

from sluiceway_llm.asking.dialects import DIALECTS, dialect_of_answer
from sluiceway_llm.calling.faults import content_of
from sluiceway_llm.calling.server_client import ServerClient
from sluiceway_llm.model_errors import ModelKeyRejected, ModelUnavailable, ModelWrongAddress
from sluiceway_llm.windows import window_told, windows_told

_SECONDS = 10.0


async def probe(server: ServerClient) -> None:
    """Is there a server that would take our requests? Raises ModelUnavailable or ModelRejected."""
    with server.errors():
        async with asyncio.timeout(_SECONDS):
            try:
                response = await server.get("/models")
            except openai.APIStatusError as error:
                _judge(error)
                return
    if response.headers.get("content-type", "").startswith("text/html"):
        raise ModelWrongAddress


def _judge(error: openai.APIStatusError) -> None:
    """Not every server lists its models, and one that counts requests is there."""
    if error.status_code in (401, 403):
        raise ModelKeyRejected from error
    if error.status_code >= 500:
        raise ModelUnavailable from error


async def windows(server: ServerClient) -> dict[str, int]:
    """The windows that the server tells, by model, in tokens; most tell none. Raises ModelError."""
    with server.errors():
        async with asyncio.timeout(_SECONDS):
            response = await server.get("/models")
            told = windows_told(content_of(response))
            if told or dialect_of_answer(response.headers) is not DIALECTS["llama.cpp"]:
                return told
            # Older ones say it only there, which is beside /v1.
            props = await server.get(f"{server.base_url.rstrip('/').removesuffix('/v1')}/props")
    content = content_of(props)
    tokens = window_told(content) if isinstance(content, dict) else None
    return {} if tokens is None else dict.fromkeys(_models_of(content_of(response)), tokens)


def _models_of(body: object) -> list[str]:
    listed = body.get("data") if isinstance(body, dict) else None
    ids = [entry.get("id") for entry in listed or () if isinstance(entry, dict)]
    return [name for name in ids if isinstance(name, str)]
