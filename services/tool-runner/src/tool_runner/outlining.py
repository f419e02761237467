"""How an outline is asked for. Any answer with words in it gives one: see outline_reading.py for how it is found."""

from collections.abc import Sequence

from tool_runner.asking import ask, messages_of
from tool_runner.context_files import ContextFile, quoted
from tool_runner.outline import Outline, Section
from tool_runner.outline_reading import read_draft, short_title
from tool_runner.tool import ToolContext

_ROLE = "You plan documents. You answer with JSON and nothing else."
_SHAPE = '{"title": string, "sections": [{"heading": string, "summary": string}]}'
_TOKENS = 200
_TOKENS_PER_SECTION = 100


async def make_outline(
    context: ToolContext, topic: str, files: Sequence[ContextFile], *, most: int, least: int = 2
) -> Outline:
    """At most `most` sections, at least one. Raises ToolFailed where the model cannot be asked or says nothing."""
    question = _question(topic, files, str(most) if least >= most else f"{least} to {most}")
    said = await ask(context, messages_of(_ROLE, question), _TOKENS + most * _TOKENS_PER_SECTION)
    draft = read_draft(said.text)
    title = draft.title or short_title(topic) or "Document"
    found = [Section(heading=heading, summary=summary) for heading, summary in draft.sections[:most]]
    return Outline(title=title, sections=found or [Section(heading=title)])


def _question(topic: str, files: Sequence[ContextFile], number: str) -> str:
    asked = f"Make the outline of a document, with {number} sections, in the language of the request.\nRequest: {topic}"
    shape = f"Answer with JSON of this shape: {_SHAPE}. A summary is one sentence on what the section says."
    return "\n\n".join(part for part in (quoted(files), asked, shape) if part)
