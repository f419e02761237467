"""What a person thinks of an answer."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field
from sluiceway.store.sessions.feedback import Rating

from gateway.api.models.texts import without_nul
from gateway.api.models.wire import Asked, Wire
from gateway.api.whitespace import NUL_FREE_PATTERN

_Comment = Annotated[
    str, Field(max_length=2000, json_schema_extra={"pattern": NUL_FREE_PATTERN}), AfterValidator(without_nul)
]


class Feedback(Asked):
    rating: Rating
    comment: _Comment = Field(default="", description="for operators, who see it beside the turn; empty: none")


class FeedbackView(Wire):
    rating: Rating
    comment: str


class GivenFeedbackView(Wire):
    session_id: str
    message_id: str
    user_id: str | None
    task_id: str | None = Field(description="the turn that ended the answer")
    model: str | None
    rating: Rating
    comment: str
    given_at: datetime


class FeedbackSumView(Wire):
    model: str | None = Field(description="that answered; null: that is not known")
    up: int
    down: int


class FeedbackList(Wire):
    """`sums` are of the whole period, the models with most first; of `feedback` these are the newest."""

    days: int
    sums: list[FeedbackSumView]
    feedback: list[GivenFeedbackView]
