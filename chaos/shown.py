"""What a client shows of a turn: the events that it saw, folded as strictly as the stock client folds them.

A step that was begun again, by a later attempt, replaces the one before it. Version 7 is told so; a client of version 6
keeps the abandoned step on its screen, and here it is left out where the same step follows from its first word.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from chaos.ledger import View
from harness.clients.folding import fold

_RETRIED = "RETRIED"


@dataclass(slots=True)
class Step:
    """`attempts`: the first and last attempt that wrote to it."""

    words: list[str] = field(default_factory=list)
    text: str = ""
    attempts: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class Shown:
    """`broken`: why a strict client throws at these events; what comes behind is in `steps` all the same."""

    steps: list[Step] = field(default_factory=list)
    tools: list[dict[str, Any]] = field(default_factory=list)
    finished: bool = False
    failed: str | None = None
    broken: str | None = None

    @property
    def text(self) -> str:
        return "".join(step.text for step in self.steps)


def shown_by(view: View) -> Shown:
    shown = Shown(steps=_without_abandoned(_steps(view)))
    try:
        message = fold([seen.chunk for seen in view.events], view.protocol)
    except (AssertionError, KeyError, AttributeError) as error:
        shown.broken = f"{type(error).__name__}: {error}"
        shown.finished = any(seen.type == "finish" for seen in view.events)
        return shown
    shown.tools = [tool for tool in message.tools.values() if not str(tool.get("error", "")).startswith(_RETRIED)]
    shown.finished = message.finish is not None
    shown.failed = message.error or ("aborted" if message.aborted else None)
    return shown


def _steps(view: View) -> list[Step]:
    steps: list[Step] = []
    for seen in view.events:
        attempt = seen.entry_id[0] if seen.entry_id else 0
        if seen.type == "start-step":
            steps.append(Step(attempts=(attempt, attempt)))
        elif not steps:
            continue
        elif seen.type == "reset-step":
            steps[-1] = Step(attempts=(attempt, attempt))
        elif seen.type == "text-delta":
            steps[-1].text += seen.chunk["delta"]
            steps[-1].attempts = (steps[-1].attempts[0], attempt)
    for step in steps:
        step.words = step.text.split()
    return steps


def _without_abandoned(steps: Sequence[Step]) -> list[Step]:
    said = [step for step in steps if step.words]
    kept = [step for step, following in pairwise(said) if not _replaces(following, step)]
    return kept + said[-1:]


def _replaces(following: Step, step: Step) -> bool:
    return following.words[0] == step.words[0] and following.attempts[0] > step.attempts[1]
