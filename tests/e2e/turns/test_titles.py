"""Titles in a whole system: beside the answer, in its stream, in the session."""

import pytest

from harness.clients.chat import Chat
from harness.clients.sse import replay
from harness.model_server import ModelServer
from harness.processes.services import Services
from harness.waiting import wait_until


@pytest.mark.requirement("CH-3")
async def test_the_title_comes_along_with_the_answer_and_the_answer_does_not_wait_for_it(
    services: Services, model: ModelServer
) -> None:
    system = await services.whole(TITLES="true", TITLE_MODEL="small")
    async with Chat(system.gateways[0].url) as chat:
        # The first request is the answer's, which waits in its middle until there is a title.
        await model.script({"tokens": 3, "rate": 0}, {"gate": "titled"}, {"tokens": 3, "rate": 0}, match="rivers")
        await model.script({"text": "Rivers of\x00 <b>the Alps</b>"}, match="rivers")
        turn = await chat.ask("Tell me of the rivers of the Alps")

        async def title() -> str | None:
            return (await chat.session(turn.session_id))["title"]  # type: ignore[no-any-return]

        assert await wait_until(title, 20, "the session has a title") == "Rivers of the Alps"
        await model.open_gate("titled")
        stream = await replay(chat.stream_url(turn))
        assert [chunk["data"] for chunk in stream.chunks if chunk["type"] == "data-title"] == [
            {"title": "Rivers of the Alps"}
        ]
        assert stream.done
        message = (await chat.session(turn.session_id))["messages"][-1]
        assert "data-title" not in [part["type"] for part in message["parts"]]

        # A title that takes for ever: the answer is whole all the same.
        await model.script({"tokens": 3, "rate": 0}, match="lakes")
        await model.script({"stall": "ever"}, match="lakes")
        other = await chat.ask("Tell me of the lakes")
        assert (await replay(chat.stream_url(other))).done
        assert (await chat.session(other.session_id))["title"] is None
