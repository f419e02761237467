"""Whether turns wait for workers, or workers for the model: one sentence over how turns did lately."""

from collections.abc import Sequence

from sluiceway.queue.queue_state import QueueState
from sluiceway.service.agreement import OtherProcess
from sluiceway.store.operating.ops import Lately

from gateway.ops.queues import QueuesSeen

_LONG_QUEUED_SECONDS = 2.0
_SLOW_TURN_SECONDS = 60.0
_MOST_NAMED = 3
# Who works on the queues of that name, and on what.
_BEHIND_THE_MODEL = (
    ("tool-runner", "tools.", "tool calls"),
    ("completion-consumer", "completions", "results of tools"),
)


def sentence(lately: Lately, seen: QueuesSeen, others: Sequence[OtherProcess], broken: str | None) -> str:
    """`broken`: what holds up every turn, whoever works on it."""
    if broken is not None:
        return f"All turns are held up. {broken}."
    chat = next((one for one in seen.states if one.kind == "chat"), None)
    away = next((one.lacks for one in others if one.component == "chat-worker" and "model: " in one.lacks), None)
    codes = f" ({', '.join(lately.model_codes)})" if lately.model_codes else ""
    waits = f"{lately.waits_for_model} turns wait for their model, which is away{codes}"
    if seen.chat_workers == 0:
        return f"No chat worker is ready: {_waiting(chat)}.{lacking(others)}"
    if away is not None:
        return f"The model is away: {away}"
    if lately.waits_for_model:
        return f"{waits}: `turns` lists them, and `explain TASK` says when each asks again."
    if chat is not None and (chat.waiting_seconds or 0) > _LONG_QUEUED_SECONDS:
        return (
            f"Short of chat workers: {chat.waiting} turns wait, the oldest for {chat.waiting_seconds:.0f} s;"
            f" {seen.chat_workers} workers have {chat.in_flight} in flight."
        )
    if (behind := _behind(seen, others)) is not None:
        return behind
    queued = lately.queued_seconds[1] if lately.queued_seconds is not None else 0.0
    whole = lately.turn_seconds[1] if lately.turn_seconds is not None else 0.0
    if queued > _LONG_QUEUED_SECONDS:
        return f"No turn waits now, but one in twenty waited more than {queued:.1f} s for a worker."
    if whole > _SLOW_TURN_SECONDS:
        return (
            f"Workers are there at once, but one in twenty turns takes more than {whole:.0f} s: the model, or tools,"
            " are slow (see sluiceway_model_first_token_seconds)."
        )
    return "Neither workers nor the model are short."


def lacking(others: Sequence[OtherProcess]) -> str:
    """What keeps the chat workers that are there from taking turns; each sentence after a space."""
    unready = [one for one in others if one.component == "chat-worker" and not one.ready]
    return "".join(f" {one.name} is there, and not ready: {one.lacks.rstrip('.')}." for one in unready[:_MOST_NAMED])


def _waiting(chat: QueueState | None) -> str:
    """For the first worker that comes."""
    if chat is None or not chat.waiting:
        return "turns wait for the first one"
    waits = "1 turn waits" if chat.waiting == 1 else f"{chat.waiting} turns wait"
    return f"{waits} for the first one, the oldest for {chat.waiting_seconds or 0:.0f} s"


def _behind(seen: QueuesSeen, others: Sequence[OtherProcess]) -> str | None:
    """What turns wait for after their model has called a tool."""
    for component, queue, what in _BEHIND_THE_MODEL:
        states = [one for one in seen.states if one.kind.startswith(queue)]
        waiting, open_ones = sum(one.waiting for one in states), sum(one.waiting + one.in_flight for one in states)
        oldest = max((one.waiting_seconds or 0 for one in states), default=0)
        name = component.replace("-", " ")
        if open_ones and not any(one.component == component and one.ready for one in others):
            return f"No {name} is ready: {open_ones} {what} wait for one."
        if oldest > _LONG_QUEUED_SECONDS:
            return f"Short of {name}s: {waiting} {what} wait, the oldest for {oldest:.0f} s."
    return None
