"""An outline: what a document is to say, in order. The result of one tool and an argument of another.

As an argument it is taken in any shape that people and models give it: an object, a list of headings, or plain text.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tool_runner.tools.writing.outline_reading import MAX_SECTIONS, draft_of

MAX_TITLE_CHARS = 200
MAX_SUMMARY_CHARS = 1000


class Section(BaseModel):
    """One section: its heading, and in a sentence or two what belongs there."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    heading: str = Field(min_length=1, max_length=MAX_TITLE_CHARS)
    summary: str = Field(default="", max_length=MAX_SUMMARY_CHARS)


class Outline(BaseModel):
    """A title and 1 to 20 sections."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    title: str = Field(min_length=1, max_length=MAX_TITLE_CHARS)
    sections: list[Section] = Field(min_length=1, max_length=MAX_SECTIONS)

    @model_validator(mode="before")
    @classmethod
    def _any_shape(cls, told: Any) -> Any:
        """What has the right shape already is left to the checks of the fields, so that they say what is wrong."""
        if isinstance(told, cls) or _is_well_formed(told):
            return told
        draft = draft_of(told)
        return {
            "title": draft.title or (draft.sections[0][0] if draft.sections else ""),
            "sections": [{"heading": heading, "summary": summary} for heading, summary in draft.sections],
        }

    def as_dict(self) -> dict[str, Any]:
        """{"title", "sections": [{"heading", "summary"}]}"""
        return self.model_dump()


def _is_well_formed(told: Any) -> bool:
    return (
        isinstance(told, dict)
        and isinstance(told.get("title"), str)
        and isinstance(told.get("sections"), list)
        and all(
            isinstance(each, Section) or (isinstance(each, dict) and "heading" in each) for each in told["sections"]
        )
    )
