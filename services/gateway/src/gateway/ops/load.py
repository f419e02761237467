"""Whether turns wait for workers, or workers for the model: one sentence over how turns did lately."""

from collections.abc import Sequence

from sluiceway.service.agreement import OtherProcess
from sluiceway.store.operating.ops import Lately

from gateway.ops.queues import QueuesSeen

_LONG_QUEUED_SECONDS = 2.0
_SLOW_TURN_SECONDS = 60.0


def sentence(lately: Lately, seen: QueuesSeen, others: Sequence[OtherProcess], broken: str | None) -> str:
    """`broken`: what holds up every turn, whoever works on it."""
    if broken is not None:
        return f"All turns are held up. {broken}."
    chat = next((one for one in seen.states if one.kind == "chat"), None)
    away = next((one.lacks for one in others if one.component == "chat-worker" and "model: " in one.lacks), None)
    codes = f" ({', '.join(lately.model_codes)})" if lately.model_codes else ""
    waits = f"{lately.waits_for_model} turns wait for their model, which is away{codes}"
    if seen.chat_workers == 0:
        return "No chat worker is ready: turns wait for the first one."
    if away is not None:
        return f"The model is away: {away}"
    if lately.waits_for_model:
        return f"{waits}: `turns` lists them, and `explain TASK` says when each asks again."
    if chat is not None and (chat.waiting_seconds or 0) > _LONG_QUEUED_SECONDS:
        return (
            f"Short of chat workers: {chat.waiting} turns wait, the oldest for {chat.waiting_seconds:.0f} s;"
            f" {seen.chat_workers} workers have {chat.in_flight} in flight."
        )
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
