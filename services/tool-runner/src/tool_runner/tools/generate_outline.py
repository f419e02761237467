"""The tool `generate_outline`: a request, and files if there are any, → an outline by the model.

A repeat costs another model call and harms nothing.
"""

from typing import Any

from pydantic import BaseModel, Field

from tool_runner.tool.definition import ToolContext, tool
from tool_runner.tools.job_life import JobLife
from tool_runner.tools.writing.context_files import MAX_FILES, ContextFile
from tool_runner.tools.writing.outline_reading import MAX_SECTIONS
from tool_runner.tools.writing.outlining import make_outline

USUAL_SECTIONS = 5


class OutlineRequest(BaseModel):
    prompt: str = Field(min_length=1, max_length=20_000, description="What the document is to be about.")
    context_files: list[ContextFile] = Field(
        default_factory=list, max_length=MAX_FILES, description="Texts that the document is to be based on."
    )
    sections: int = Field(default=USUAL_SECTIONS, ge=1, le=MAX_SECTIONS, description="At most so many sections.")


@tool(
    name="generate_outline",
    title="Outline",
    description="Makes the outline of a document: a title, and sections with what each is to say.",
    long=True,
    own_job_events=True,
    repeatable=True,
    timeout_seconds=600,
)
async def generate_outline(arguments: OutlineRequest, context: ToolContext) -> dict[str, Any]:
    """{"title", "sections": [{"heading", "summary"}]}; also the job events `outline_generated` and `task_completed`."""
    async with JobLife(context, "outline_generation", prompt=arguments.prompt) as life:
        await life.progress(0, "Making the outline")
        made = await make_outline(context, arguments.prompt, arguments.context_files, arguments.sections)
        outline = made.as_dict()
        await context.progress(100, f"{len(made.sections)} sections", outline)
        await life.tell(context.job_events.publish_outline_generated(context.operation_id, outline))
        await life.completed(outline)
    return outline
