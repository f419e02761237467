"""What a step is given to work with, and what may come of it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sluiceway.operation.answer_format import AnswerFormat
from sluiceway.wire.task import EndStatus
from sluiceway.wire.tools import ToolSpec
from sluiceway_llm.calling.retry import Patience
from sluiceway_llm.model_errors import ModelContextExceeded

from chat_worker.model_wait import ModelWait

# How a step left its turn: ended; waiting, for operations or for its model; or still to be continued by this worker.
Outcome = EndStatus | Literal["waiting", "running"]


@dataclass(frozen=True, slots=True)
class Offer:
    """What a step may use. `tools`: what the model is offered; none in the last round. `max_calls`: in this step.
    `max_chars`: of what the model says in it. `form`: of an answer that ends the turn."""

    tools: Mapping[str, ToolSpec]
    max_calls: int
    last: bool = False
    max_chars: int = sys.maxsize
    form: AnswerFormat | None = None


@dataclass(frozen=True, slots=True)
class Tries:
    """How a model that is away is tried again: so often, with the patience of the turn. A wait of more than
    `hold_seconds` is spent without a worker; None: with one. `waited`: what the step has gone through before.
    `breaks`: how often yet an answer that broke off in its text may be continued there."""

    attempts: int
    patience: Patience
    hold_seconds: float | None = None
    waited: ModelWait | None = None
    breaks: int = 0


class BrokeOff(Exception):
    """The server broke off in the middle of a text that it can continue. It says the error's code. What was shown
    stands."""


class NotContinued(Exception):
    """The server did not continue an answer that was begun. It says the error's code."""


class Unfit(Exception):
    """The answer is whole, and not of the form that was asked for. It was shown; nothing else is changed."""

    def __init__(self, answer: str, problem: str) -> None:
        self.answer = answer
        self.problem = problem
        super().__init__(problem)


class TooLong(Exception):
    """The server refused the request for its length, before it said anything. Nothing is changed."""

    def __init__(self, error: ModelContextExceeded) -> None:
        self.error = error
        super().__init__(error.code)
