"""The tool `generate_document`: an outline, or a request that one is made from first → a text, section by section.

Guarantees: one model call a section, in order; the text so far is seen while it grows; a section that the model has no
words for says so, and a document without any words is a failure. A repeat, after this process died, begins again: it
costs the model calls again and harms nothing.
"""

import asyncio
from typing import Any, Self

from pydantic import BaseModel, Field, model_validator
from sluiceway.cancelling import cancelled

from tool_runner.tool.definition import ToolContext, ToolFailed, tool
from tool_runner.tools.asking import EMPTY, Said, ask, messages_of
from tool_runner.tools.job_life import JobLife
from tool_runner.tools.writing.context_files import MAX_FILES, ContextFile, quoted
from tool_runner.tools.writing.document import Document
from tool_runner.tools.writing.outline import Outline
from tool_runner.tools.writing.outlining import make_outline

USUAL_WORDS = 100
SECTIONS_FROM_PROMPT = 4
_OUTLINE_PERCENT = 10
_SHOW_SECONDS = 1.0
_SHOW_CHARS_PER_SECOND = 4000
"""The whole text goes out each time: the longer it is, the less often."""
_TOKENS_PER_WORD = 3
_BEFORE_CHARS = 600
_WORDS_OF_A_PARAGRAPH = 150


class DocumentRequest(BaseModel):
    outline: Outline | None = Field(default=None, description="The outline, as generate_outline makes it.")
    prompt: str = Field(default="", max_length=20_000, description="What to write about. Needed without an outline.")
    context_files: list[ContextFile] = Field(
        default_factory=list, max_length=MAX_FILES, description="Texts that the document is to be based on."
    )
    words_per_section: int = Field(default=USUAL_WORDS, ge=10, le=2000)

    @model_validator(mode="after")
    def _there_is_something_to_write_about(self) -> Self:
        if self.outline is None and not self.prompt.strip():
            raise ValueError("give an outline or a prompt")
        return self


@tool(
    name="generate_document",
    title="Document",
    description="Writes a document, section by section, from an outline or from a prompt.",
    long=True,
    own_job_events=True,
    repeatable=True,
    text_field="prompt",
)
async def generate_document(arguments: DocumentRequest, context: ToolContext) -> dict[str, Any]:
    """{"title", "markdown", "word_count", "sections": n}; also the job events `document_generated` and
    `task_completed`."""
    async with JobLife(context, "document_generation", prompt=arguments.prompt) as life:
        document = await _Writing(arguments, context, life).write()
        await life.tell(context.job_events.publish_document_generated(context.operation_id, document.result))
        await life.completed(document.result)
    return document.result


class _Writing:
    """One run: the document, and how it is seen."""

    def __init__(self, request: DocumentRequest, context: ToolContext, life: JobLife) -> None:
        self._request = request
        self._context = context
        self._life = life
        self._begins_at = 0.0 if request.outline else float(_OUTLINE_PERCENT)
        self._message = ""
        self._grown = asyncio.Event()
        self._document: Document

    async def write(self) -> Document:
        """Raises ToolFailed."""
        self._document = Document(self._request.outline or await self._outline())
        showing = asyncio.create_task(self._show_growth(), name="growth")
        try:
            for _ in self._document.outline.sections:
                await self._write_section()
        finally:
            await cancelled([showing])
        if not self._document.word_count:
            raise ToolFailed("The model did not say a word about any section.", EMPTY)
        return self._document

    async def _outline(self) -> Outline:
        await self._life.progress(0, "Making the outline")
        request = self._request
        return await make_outline(self._context, request.prompt, request.context_files, SECTIONS_FROM_PROMPT)

    async def _write_section(self) -> None:
        outline = self._document.outline
        number = len(self._document.written) + 1
        self._message = f"Section {number} of {len(outline.sections)}: {outline.sections[number - 1].heading}"
        await self._tell()
        self._document.end_section(await self._said())
        await self._tell()

    async def _said(self) -> Said | None:
        """What the model writes; None where it says nothing."""
        messages = messages_of(_question(self._request, self._document), _background(self._request, self._document))
        max_tokens = self._request.words_per_section * _TOKENS_PER_WORD
        try:
            return await ask(self._context, messages, max_tokens, self._grow)
        except ToolFailed as failure:
            if failure.type != EMPTY:
                raise
            return None

    async def _grow(self, said: Said) -> None:
        self._document.grow(said.text)
        self._grown.set()

    async def _show_growth(self) -> None:
        """Within a section: at once, but not too often; also what the model said before it fell silent."""
        while True:
            await self._grown.wait()
            self._grown.clear()
            shown = self._document.shown
            await self._context.progress(self._percent, self._message, shown)
            await asyncio.sleep(max(_SHOW_SECONDS, len(shown["markdown"]) / _SHOW_CHARS_PER_SECOND))

    async def _tell(self) -> None:
        """At the ends of a section: the conversation sees the text, followers of the job how far it is."""
        self._grown.clear()
        document = self._document
        members = {"sections_done": len(document.written), "word_count": document.word_count}
        await self._life.progress(self._percent, self._message, document.shown, **members)

    @property
    def _percent(self) -> float:
        document = self._document
        begun = min(len(document.current.split()) / self._request.words_per_section, 0.95)
        share = (len(document.written) + begun) / len(document.outline.sections)
        return round(self._begins_at + share * (100 - self._begins_at), 1)


def _background(request: DocumentRequest, document: Document) -> str:
    """What the model should know for the next section: of the text before it, the end is enough."""
    headings = "; ".join(section.heading for section in document.outline.sections)
    parts = [
        quoted(request.context_files),
        f'You write a text called "{document.outline.title}". Its sections: {headings}.',
        f"What was asked for: {request.prompt}" if request.prompt else "",
        f"The section before ends with: {document.written[-1][-_BEFORE_CHARS:]}" if document.written else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _question(request: DocumentRequest, document: Document) -> str:
    section, words = document.outline.sections[len(document.written)], request.words_per_section
    form = "a paragraph of" if words <= _WORDS_OF_A_PARAGRAPH else "plain paragraphs, without headings, of"
    about = f"{section.heading}. {section.summary}".strip()
    return f'Write {form} about {words} words for "{document.outline.title}". It is about: {about}'
