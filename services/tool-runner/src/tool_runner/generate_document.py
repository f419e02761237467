"""The tool `generate_document`: an outline, or a request that one is made from first → a text, section by section.

Guarantees: one model call a section, in order; the text so far is seen while it grows; a section that the model has no
words for says so, and a document without any words is a failure. A repeat, after this process died, begins anew: it
costs the model calls again and harms nothing.
"""

import time
from typing import Any, Self

from pydantic import BaseModel, Field, model_validator

from tool_runner.asking import EMPTY, Said, ask, messages_of
from tool_runner.context_files import MAX_FILES, ContextFile, quoted
from tool_runner.document import Document
from tool_runner.job_life import JobLife
from tool_runner.outline import Outline
from tool_runner.outlining import make_outline
from tool_runner.tool import ToolContext, ToolFailed, tool

USUAL_WORDS = 100
SECTIONS_FROM_PROMPT = 4
_OUTLINE_PERCENT = 10
_SHOW_SECONDS = 1.0
_SHOW_CHARS_PER_SECOND = 4000
"""The whole text goes out each time: the longer it is, the less often."""
_TOKENS_PER_WORD = 3
_BEFORE_CHARS = 600
_ROLE = "You write documents, one section at a time. You write plain paragraphs and no headings."


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
    """{"title", "markdown", "word_count", "sections": n}; also the job event `document_generated`."""
    async with JobLife(context, "document_generation", prompt=arguments.prompt) as life:
        document = await _Writing(arguments, context, life).write()
        await life.tell(context.job_events.publish_document_generated(context.operation_id, document.result))
    return document.result


class _Writing:
    """One run: the document, and how much of it was seen."""

    def __init__(self, request: DocumentRequest, context: ToolContext, life: JobLife) -> None:
        self._request = request
        self._context = context
        self._life = life
        self._begins_at = 0.0 if request.outline else float(_OUTLINE_PERCENT)
        self._show_at = 0.0
        self._document: Document

    async def write(self) -> Document:
        """Raises ToolFailed."""
        self._document = Document(self._request.outline or await self._outline())
        for _ in self._document.outline.sections:
            await self._write_section()
        if not self._document.word_count:
            raise ToolFailed("The model did not say a word about any section.", EMPTY)
        return self._document

    async def _outline(self) -> Outline:
        await self._life.progress(0, "Making the outline")
        request = self._request
        return await make_outline(self._context, request.prompt, request.context_files, most=SECTIONS_FROM_PROMPT)

    async def _write_section(self) -> None:
        outline = self._document.outline
        number = len(self._document.written) + 1
        message = f"Section {number} of {len(outline.sections)}: {outline.sections[number - 1].heading}"
        await self._tell(message)
        self._document.end_section(await self._said(message))
        await self._tell(message)

    async def _said(self, message: str) -> Said | None:
        """What the model writes; None where it says nothing."""

        async def grow(said: Said) -> None:
            self._document.grow(said.text)
            if time.monotonic() >= self._show_at:
                await self._show(message)

        question = _question(self._request, self._document)
        max_tokens = self._request.words_per_section * _TOKENS_PER_WORD
        try:
            return await ask(self._context, messages_of(_ROLE, question), max_tokens, grow)
        except ToolFailed as failure:
            if failure.type != EMPTY:
                raise
            return None

    async def _tell(self, message: str) -> None:
        """At the ends of a section: the conversation sees the text, followers of the job how far it is."""
        document = self._document
        members = {"sections_done": len(document.written), "word_count": document.word_count}
        await self._life.progress(self._percent, message, document.shown, **members)

    async def _show(self, message: str) -> None:
        """Within a section: only the conversation, and not too often."""
        shown = self._document.shown
        self._show_at = time.monotonic() + max(_SHOW_SECONDS, len(shown["markdown"]) / _SHOW_CHARS_PER_SECOND)
        await self._context.progress(self._percent, message, shown)

    @property
    def _percent(self) -> float:
        document = self._document
        begun = min(len(document.current.split()) / self._request.words_per_section, 0.95)
        share = (len(document.written) + begun) / len(document.outline.sections)
        return round(self._begins_at + share * (100 - self._begins_at), 1)


def _question(request: DocumentRequest, document: Document) -> str:
    """What the model has to know for the next section. Of what was written before, the end is enough to go on from."""
    outline, number = document.outline, len(document.written) + 1
    section = outline.sections[number - 1]
    headings = "\n".join(f"{place}. {each.heading}" for place, each in enumerate(outline.sections, 1))
    wanted = f'Write section {number}, "{section.heading}", in about {request.words_per_section} words.'
    parts = [
        quoted(request.context_files),
        f"What was asked for: {request.prompt}" if request.prompt else "",
        f"The document: {outline.title}\n{headings}",
        f"It ends so far with:\n{document.written[-1][-_BEFORE_CHARS:]}" if document.written else "",
        f"{wanted} It is about: {section.summary}" if section.summary else wanted,
    ]
    return "\n\n".join(part for part in parts if part)
