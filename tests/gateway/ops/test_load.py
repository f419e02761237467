"""The sentence that says what is short, by what is known."""

import pytest
from gateway.ops.load import sentence
from gateway.ops.queues import QueuesSeen
from sluiceway.queue.queue_state import QueueState
from sluiceway.service.agreement import OtherProcess
from sluiceway.store.operating.ops import Lately

FINE = Lately(9, {"completed": 9}, {}, 90, (0.1, 0.2), (2.0, 4.0))
AWAY = Lately(9, {}, {}, 0, None, None, waits_for_model=3, model_codes=("MODEL_RATE_LIMITED", "MODEL_UNAVAILABLE"))
CALM = QueuesSeen([QueueState("chat", 0, 2, None, 1.0, ())], {}, chat_workers=2, at=0.0)
BEHIND = QueuesSeen([QueueState("chat", 7, 2, 41.0, 1.0, ())], {}, chat_workers=2, at=0.0)
NOBODY = QueuesSeen([], {}, chat_workers=0, at=0.0)
SILENT = OtherProcess("chat-worker", "w", "1", "model: it was silent for too long", None)
RUNNER, CONSUMER = (OtherProcess(name, name, "1", "", None) for name in ("tool-runner", "completion-consumer"))
FROZEN = QueuesSeen([*CALM.states, QueueState("tools.default", 1, 2, 0.5, 9.0, ())], {}, chat_workers=2, at=0.0)
CALLS_WAIT = QueuesSeen([*CALM.states, QueueState("tools.x", 5, 9, 31.0, 40.0, ())], {}, chat_workers=2, at=0.0)
RESULTS_WAIT = QueuesSeen([*CALM.states, QueueState("completions", 8, 0, 12.0, None, ())], {}, chat_workers=2, at=0.0)
DRAINED = OtherProcess("chat-worker", "w", "1", "operators: drained by an operator", None, ready=False)
FULL = "Redis: takes no writes: it is full (maxmemory)"


@pytest.mark.requirement("OP-6")
@pytest.mark.parametrize(
    ("lately", "seen", "others", "broken", "words"),
    [
        (FINE, CALM, (), None, "Neither workers nor the model are short."),
        (FINE, BEHIND, (), None, "Short of chat workers: 7 turns wait, the oldest for 41 s"),
        (AWAY, CALM, (), None, "3 turns wait for their model, which is away (MODEL_RATE_LIMITED, MODEL_UNAVAILABLE)"),
        (FINE, FROZEN, (CONSUMER,), None, "No tool runner is ready: 3 tool calls wait for one."),
        (FINE, FROZEN, (RUNNER,), None, "Neither workers nor the model are short."),
        (FINE, CALLS_WAIT, (RUNNER,), None, "Short of tool runners: 5 tool calls wait, the oldest for 31 s."),
        (FINE, RESULTS_WAIT, (RUNNER,), None, "No completion consumer is ready: 8 results of tools wait for one."),
        (FINE, RESULTS_WAIT, (CONSUMER,), None, "Short of completion consumers: 8 results of tools wait"),
        (FINE, CALM, (SILENT,), None, "The model is away: model: it was silent for too long"),
        (FINE, NOBODY, (DRAINED, RUNNER), None, "w is there, and not ready: operators: drained by an operator."),
        # Without Redis nobody is heard of, and everything is late: that is not the cause.
        (AWAY, NOBODY, (SILENT,), FULL, f"All turns are held up. {FULL}."),
    ],
)
def test_the_cause_is_named_and_not_what_follows_from_it(
    lately: Lately, seen: QueuesSeen, others: tuple[OtherProcess, ...], broken: str | None, words: str
) -> None:
    assert words in sentence(lately, seen, others, broken)
