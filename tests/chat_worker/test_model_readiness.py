"""What a chat worker tells operators of a model server that is away."""

import pytest
from chat_worker.model_readiness import answers
from sluiceway_llm.calling.model import Model

from harness.processes.ports import free_port


@pytest.mark.requirement("OP-10", "SE-5")
async def test_it_says_which_server_and_why_and_neither_its_key_nor_what_a_user_is_to_do() -> None:
    port = free_port()
    async with Model(f"http://127.0.0.1:{port}/v1", "k") as model:
        told = await answers(model, f"http://somebody:hidden@127.0.0.1:{port}/v1")()
    assert told is not None
    assert f" 127.0.0.1:{port} " in told
    assert "(OPENAI_BASE_URL)" in told
    assert "connect" in told.lower()
    assert "hidden" not in told
    assert "Please" not in told
