"""The tool `remember`: writes down a fact about the person, for later conversations.

The person sees each call in the conversation, all facts at `/api/chat/me/understanding`, and may remove them there.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sluiceway.errors import UnderstandingTooLarge

from tool_runner.tool.definition import Tool, ToolContext, ToolFailed

FULL = "UNDERSTANDING_FULL"
TEMPORARY = "TEMPORARY_SESSION"
_NAME_CHARS = 60


class Fact(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(
        default="", max_length=100, description="a short name for the fact, such as `language` or `project`"
    )
    fact: str | None = Field(
        default=None, max_length=2000, description="the fact, in a sentence; leave it out to forget what has that name"
    )


class Remember(Tool[Fact]):
    """Answers {"remembered" or "forgotten": NAME, "facts": how many there are}."""

    name = "remember"
    title = "Remember"
    description = (
        "Writes down a lasting fact about the person you talk with, so that it is known in later conversations:"
        " their name, how they want to be answered, what they work on. Use it when they tell such a fact or ask you to"
        " remember or forget something; never for passwords, keys, or what they want kept to themselves."
    )
    Input = Fact
    timeout_seconds = 10
    repeatable = True
    text_field = "fact"

    async def run(self, arguments: Fact, context: ToolContext) -> dict[str, Any]:
        # `/remember I like rivers`: who types it thinks of no name.
        name = arguments.name.strip() or (arguments.fact or "").strip()[:_NAME_CHARS].strip()
        if not name:
            raise ToolFailed("There is nothing to remember, and no name of what to forget.", "NOTHING_SAID")
        try:
            facts = await context.remember(name, arguments.fact)
        except UnderstandingTooLarge as error:
            raise ToolFailed("There is no room for more. Forget something first, or say it shorter.", FULL) from error
        if facts is None:
            raise ToolFailed("This conversation is temporary: nothing is remembered or forgotten in it.", TEMPORARY)
        return {"forgotten" if arguments.fact is None else "remembered": name, "facts": facts}
