"""Where tools come from: the page's own example, and packages that are installed beside the runner."""

import re
from pathlib import Path

import pytest
from tool_runner.runner.discovery import tools_of
from tool_runner.tool.definition import FunctionTool, tool

from harness.processes.services import Services
from tests.tool_runner.operations import Caller

README = Path(__file__).parents[3] / "services" / "tool-runner" / "README.md"
PACKAGE = '''
"""Tools of an installed package."""
from pydantic import BaseModel
from tool_runner.tool import Tool, tool


class Word(BaseModel):
    word: str


class Shout(Tool[Word]):
    name = "shout"
    description = "Shouts."
    Input = Word

    async def run(self, arguments, context):
        return arguments.word.upper()


@tool
def whisper(arguments: Word) -> str:
    """Whispers."""
    return arguments.word.lower()
'''


async def test_the_example_of_the_page_works_as_it_stands(services: Services, caller: Caller, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "dice.py").write_text(example)
    await services.tool_runner(TOOLS_DIR=str(folder))
    offered = await caller.offered()
    assert offered["roll_dice"].description == "Rolls dice, and answers what each of them shows."
    assert offered["send_letter"].approval
    assert offered["send_letter"].text_field == "to"
    rolled = await caller.ask("roll_dice", sides=2, count=5)
    assert len(rolled) == 5
    assert await caller.failure(await caller.call("send_letter", to="Bob", text="Hi")) == "NOT_KNOWN"


async def test_tools_of_installed_packages_are_found(services: Services, caller: Caller, tmp_path: Path) -> None:
    site = tmp_path / "site"
    about = site / "loud_tools-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "loud_tools.py").write_text(PACKAGE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: loud-tools\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[sluiceway.tools]\nloud = loud_tools\nmissing = no_such_module\n")
    services.expect_in_logs("tools_not_loaded")
    runner = await services.tool_runner(PYTHONPATH=str(site))
    assert await caller.ask("shout", word="hey") == "HEY"
    assert await caller.ask("whisper", word="HEY") == "hey"
    (error,) = (line for line in runner.log_lines if line["level"] == "error")
    assert error["where"] == "entry point missing"


def test_a_function_that_cannot_be_called_with_a_model_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="one pydantic model"):

        @tool
        def wrong(number: int) -> int:
            """Takes a number."""
            return number


def test_a_tool_is_still_the_function_that_it_was() -> None:
    @tool(title="Nothing")
    def nothing() -> str:
        """Does nothing."""
        return "nothing"

    assert nothing() == "nothing"
    assert (nothing.name, nothing.title) == ("nothing", "Nothing")
    assert tools_of([nothing], "here") == [nothing]
    with pytest.raises(TypeError, match="no tool"):
        tools_of(42, "here")
    with pytest.raises(TypeError, match="no attribute 'colour'"):
        FunctionTool(lambda: None, colour="red")
