"""llama.cpp itself, with the small model of `make run`: it goes on with an answer, in the dialect of that name."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sluiceway_llm.calling.model import Model

from harness.processes.llama_cpp import llama_cpp
from tests.llm.llm_client import events_of, finished, request, text_of

QUESTION = "Write one sentence about the sea."
TOKENS = 8


@pytest.fixture
async def llama(tmp_path: Path) -> AsyncIterator[Model]:
    async with llama_cpp(tmp_path) as base_url, Model(base_url, "", continuation="llama.cpp") as model:
        yield model


@pytest.mark.requirement("TS-5")
@pytest.mark.parametrize("blanks", ["", " ", "\n\n"])
async def test_llama_cpp_continues_behind_the_beginning(llama: Model, blanks: str) -> None:
    beginning = "The sea is a vast and" + blanks

    events = await events_of(llama, request(QUESTION, prefix=beginning, max_tokens=TOKENS, temperature=0))

    said = text_of(events)
    assert said.strip()
    assert "The sea is a vast" not in said
    assert not (beginning + said).startswith("The sea is a vast and  ")
    usage = finished(events).usage
    assert usage is not None
    assert usage.output_tokens == TOKENS
