"""Whatever a model's server sends, its turn ends, and its session goes on with the next message. All parts are real."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from harness.clients.chat import Chat
from harness.clients.folding import fold
from harness.model_server import ModelServer, answer_to
from tests.any_json import ANY_JSON, ANY_TEXT

# No shrinking: an example is a whole turn or two.
SOME = settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_FUNCTION = st.fixed_dictionaries(
    {"name": ANY_TEXT | ANY_JSON, "arguments": ANY_TEXT | ANY_JSON.map(json.dumps) | ANY_JSON}
)
_CALL = st.fixed_dictionaries(
    {"index": st.integers(-1, 3) | ANY_JSON, "id": ANY_TEXT | ANY_JSON, "function": _FUNCTION}
)
_DELTA = st.one_of(
    st.fixed_dictionaries({"content": ANY_TEXT | ANY_JSON}),
    st.fixed_dictionaries({"reasoning_content": ANY_TEXT | ANY_JSON}),
    st.fixed_dictionaries({"tool_calls": st.lists(_CALL, max_size=2) | ANY_JSON}),
    ANY_JSON,
)
_CHOICE = st.fixed_dictionaries(
    {"delta": _DELTA}, optional={"finish_reason": st.sampled_from(["stop", "length", "tool_calls"]) | ANY_JSON}
)
_FRAME = st.fixed_dictionaries(
    {"choices": st.lists(_CHOICE, max_size=2)},
    optional={"model": ANY_TEXT, "usage": ANY_JSON, "id": ANY_TEXT, "error": ANY_JSON},
)
_USAGE = st.fixed_dictionaries({"prompt_tokens": ANY_JSON, "completion_tokens": ANY_JSON, "total_tokens": ANY_JSON})


def _stream(frames: list[Any], usage: Any) -> str:
    """The frames, with usage; the last one says that the answer is whole. NaN and infinities are no JSON: so it is."""
    last = {"choices": [{"delta": {"content": "."}, "finish_reason": "stop"}], "usage": usage}
    return "".join(f"data: {json.dumps(frame)}\n\n" for frame in [*frames, last]) + "data: [DONE]\n\n"


@pytest.mark.requirement("CH-24", "TS-5", "CH-11")
@SOME
@given(st.lists(_FRAME | ANY_JSON, max_size=4), _USAGE)
async def test_the_turn_ends_and_its_session_continues(
    chat: Chat, model: ModelServer, frames: list[Any], usage: dict[str, Any]
) -> None:
    await model.reset()
    await model.script({"status": 200, "body": _stream(frames, usage), "content_type": "text/event-stream"}, times=1)
    turn = await chat.ask("anything [[tokens=3 rate=0]]")
    message = fold(await chat.answer(turn, timeout=60))
    assert message.ended
    assert await chat.status(turn.task_id) in ("completed", "failed")
    following = await chat.send(turn.session_id, "next [[tokens=3 rate=0]]")
    assert fold(await chat.answer(following, timeout=60)).text == answer_to("next", 3)
    assert [role for role, _ in await chat.messages(turn.session_id)][:2] == ["user", "assistant"]
