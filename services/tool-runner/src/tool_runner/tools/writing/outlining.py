"""How an outline is asked for. Any answer with words in it gives one: see outline_reading.py for how it is found.

A list of headings, and not JSON, is asked for: models of every size can make one. The smallest write about JSON when
they hear the word. Whoever answers with JSON all the same is understood.
"""

from collections.abc import Sequence

from tool_runner.tool.definition import ToolContext
from tool_runner.tools.asking import ask, messages_of
from tool_runner.tools.writing.context_files import ContextFile, quoted
from tool_runner.tools.writing.outline import Outline, Section
from tool_runner.tools.writing.outline_reading import read_draft, short_title

_TOKENS = 200
_TOKENS_PER_SECTION = 100


async def make_outline(context: ToolContext, topic: str, files: Sequence[ContextFile], sections: int) -> Outline:
    """At most that many sections, at least one. Raises ToolFailed where the model cannot be asked or says nothing."""
    list_of = f"Make a list of {sections} section headings for this text, with one sentence for each, in its language."
    question = f"{topic}\n\n{list_of}"
    said = await ask(context, messages_of(question, quoted(files)), _TOKENS + sections * _TOKENS_PER_SECTION)
    draft = read_draft(said.text)
    title = draft.title or short_title(topic) or "Document"
    found = [Section(heading=heading, summary=summary) for heading, summary in draft.sections[:sections]]
    return Outline(title=title, sections=found or [Section(heading=title)])
