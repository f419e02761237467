"""Pictures go to models that take them; a server that refuses them is told a sentence in their place."""

from typing import Any

import pytest
from sluiceway_llm.asking.history import Wants, fitted
from sluiceway_llm.asking.pictures import finds_unfit, refuses_pictures, takes_pictures
from sluiceway_llm.asking.server_options import ServerOptions
from sluiceway_llm.model_events import ModelRequest

from harness.model_server import ModelServer
from tests.llm.llm_client import adapter, events_of, text_of

pytestmark = pytest.mark.requirement("CH-17", "CH-25")

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
NAMED = {"type": "text", "text": '[The picture "cat.png":]'}
ASKED = [{"role": "user", "content": [NAMED, PICTURE, {"type": "text", "text": "What is it?"}]}]


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o-mini",
        "openai/gpt-4.1",
        "gpt-5",
        "o3",
        "claude-sonnet-4",
        "gemini-2.5-pro",
        "qwen2.5-vl-7b",
        "llama-3.2-11b-vision",
        "pixtral-12b",
        "gemma-3-4b-it",
        "my-own-model",
        "deepseek-vl2",
        "gpt-4-turbo",
    ],
)
def test_models_that_see_and_those_that_nobody_knows_are_sent_pictures(name: str) -> None:
    assert takes_pictures(name)


@pytest.mark.parametrize(
    "name",
    [
        "gpt-3.5-turbo",
        "gpt-4",
        "deepseek-chat",
        "o3-mini",
        "llama-3.1-8b",
        "mistral-7b-instruct",
        "qwen2.5-7b",
        "SmolLM2-135M",
        "groq/llama3-70b",
        "gpt-oss-120b",
    ],
)
def test_models_that_are_known_to_be_blind_are_not(name: str) -> None:
    assert not takes_pictures(name)


@pytest.mark.parametrize(
    "words",
    [
        "Invalid content type. image_url is only supported by certain models.",
        "Failed to deserialize the JSON body: messages[0]: unknown variant `image_url`, expected `text`",
        "messages[0].content must be a string",
        "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        "No endpoints found that support image input",
        "At most 0 image(s) may be provided: meta/x is not a multimodal model",
    ],
)
def test_a_refusal_of_pictures_is_known_by_its_words(words: str) -> None:
    assert refuses_pictures(words)
    assert not finds_unfit(words)


@pytest.mark.parametrize(
    "words",
    [
        "You uploaded an unsupported image. Please make sure your image has of one the following formats: ['png'].",
        "messages.0.content.1.image.source.base64: image exceeds 5 MB maximum: 6291456 bytes > 5242880 bytes",
        "Could not process image",
        "Invalid base64 image_url.",
        "Failed to load image: cannot identify image file",
    ],
)
def test_a_refusal_of_one_picture_is_not_taken_for_one_of_all(words: str) -> None:
    assert finds_unfit(words)


@pytest.mark.parametrize(
    ("status", "words", "learned", "in_its_place"),
    [
        (400, "image_url is only supported by certain models", "pictures", "This model is not shown pictures"),
        (500, "image input is not supported - you may need to provide the mmproj", "pictures", "not shown pictures"),
        (400, "Could not process image", None, "This picture could not be read"),
    ],
)
async def test_what_a_server_refuses_is_said_in_words_and_the_answer_comes(
    model: ModelServer, status: int, words: str, learned: str | None, in_its_place: str
) -> None:
    await model.script({"status": status, "body": {"error": {"message": words}}})
    async with adapter(model) as llm:
        assert text_of(await events_of(llm, ModelRequest("fake", ASKED)))
        sent = [record.body["messages"][0]["content"] for record in await model.requests()]
        assert sent[0] == ASKED[0]["content"]
        assert isinstance(sent[-1], str)
        assert in_its_place in sent[-1]
        assert '[The picture "cat.png":]' in sent[-1]
        assert (learned is None) == (llm.manners_of("fake").lessons.told() == [])
        # Another picture is sent, where it was only that one.
        other: Any = [{"role": "user", "content": [{**PICTURE, "image_url": {"url": "data:image/png;base64,BBBB"}}]}]
        await events_of(llm, ModelRequest("fake", other))
        assert isinstance((await model.requests())[-1].body["messages"][0]["content"], list) == (learned is None)


async def test_a_setting_says_whether_a_model_takes_pictures(model: ModelServer) -> None:
    async with adapter(model, options=ServerOptions(pictures=False)) as llm:
        await events_of(llm, ModelRequest("fake", ASKED))
        [record] = await model.requests()
        assert isinstance(record.body["messages"][0]["content"], str)
        assert record.body["messages"][0]["content"].endswith("What is it?")


def test_neighbours_with_pictures_are_made_to_take_turns() -> None:
    sent = fitted([*ASKED, {"role": "user", "content": "go"}], Wants(system=False))
    assert [one["role"] for one in sent] == ["user", "assistant", "user"]
    assert sent[0]["content"][1] == PICTURE
    with_system = fitted([{"role": "system", "content": "Be brief."}, *ASKED], Wants(system=False))
    assert with_system[0]["content"][0] == {"type": "text", "text": "Be brief."}
