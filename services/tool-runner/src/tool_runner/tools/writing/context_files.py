"""Files that a user gives along with a request: named texts, quoted to the model as far as there is room."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

MAX_FILES = 20
QUOTED_CHARS = 12_000
"""Of all files together; each gets an equal share, and what one leaves unused goes to those after it."""


class ContextFile(BaseModel):
    """A file's name and what is in it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(min_length=1, max_length=200)
    text: str = Field(max_length=1_000_000)


def quoted(files: Sequence[ContextFile], most_chars: int = QUOTED_CHARS) -> str:
    """The files as a passage of a question, with a note where one was shortened; nothing where there are none."""
    passages = []
    for position, file in enumerate(files):
        share = most_chars // (len(files) - position)
        text = file.text.strip()
        shown = text if len(text) <= share else text[:share] + "\n(shortened here)"
        most_chars -= min(len(text), share)
        passages.append(f"File {file.name}:\n{shown}")
    return "\n\n".join(passages)
