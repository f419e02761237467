"""Messages that call a tool by its name."""

import pytest
from chat_worker.calls import AskedCall
from chat_worker.direct import read_command, to_call, usage_of
from sluiceway.wire.tools import ToolSpec

CITY = {"type": "object", "properties": {"city": {"type": "string", "description": "where"}}, "required": ["city"]}
WEATHER = ToolSpec(name="weather", description="The weather.\nIn detail.", parameters=CITY)
SEARCH = ToolSpec(
    name="search",
    description="Search.",
    parameters={"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
    text_field="q",
)
OFFERED = {"weather": WEATHER, "search": SEARCH}


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/weather", ("weather", "")),
        (' /weather {"city": "Köln"}\n', ("weather", '{"city": "Köln"}')),
        ("/search a\nb", ("search", "a\nb")),
        ("/usr/bin is a path", None),
        ("what is /weather", None),
        ("/ weather", None),
        ("", None),
        ("/" + "x" * 65, None),
    ],
)
def test_a_command_is_a_whole_message_that_begins_with_a_tools_name(text: str, command: tuple[str, str] | None) -> None:
    assert read_command(text) == command


@pytest.mark.parametrize(
    ("name", "rest", "arguments"),
    [
        ("weather", '{"city": "Köln"}', '{"city": "K\\u00f6ln"}'),
        ("search", "größer als\nalles", '{"q": "gr\\u00f6\\u00dfer als\\nalles"}'),
        ("search", '{"q": "as JSON"}', '{"q": "as JSON"}'),
        ("search", "[1, 2]", '{"q": "[1, 2]"}'),
    ],
)
def test_a_command_becomes_a_call_with_json_or_with_its_text(name: str, rest: str, arguments: str) -> None:
    call = to_call(name, rest, OFFERED)

    assert isinstance(call, AskedCall)
    assert (call.tool_name, call.arguments) == (name, arguments)


@pytest.mark.parametrize(
    ("name", "rest", "said"),
    [
        ("wether", "", "There is no tool `/wether`."),
        ("weather", "Köln", "`/weather` takes its arguments as JSON."),
        ("weather", "", "`/weather` cannot be run with that: 'city' is a required property"),
        ("weather", '{"city": 1}', "`/weather` cannot be run with that: city: 1 is not of type 'string'"),
        ("tools", "", "These tools are offered:"),
        ("help", "", "These tools are offered:"),
    ],
)
def test_a_command_that_cannot_be_run_is_answered_with_help(name: str, rest: str, said: str) -> None:
    answer = to_call(name, rest, OFFERED)

    assert isinstance(answer, str)
    assert answer.startswith(said)
    assert "weather" in answer


def test_help_says_what_a_tool_takes_with_an_example() -> None:
    assert usage_of(WEATHER).splitlines()[3:] == [
        "- `city` (string): where",
        "",
        'Example: `/weather {"city": "…"}`',
    ]
    assert usage_of(SEARCH).endswith("or with the text alone: `/search …`")
    assert to_call("tools", "", {}) == "No tools are offered at the moment."
