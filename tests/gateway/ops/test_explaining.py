"""The sentence that explains a turn, by what is known of it."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from gateway.api.ops_models import WaitsFor
from gateway.ops.evidence import Evidence, OperationEvidence
from gateway.ops.explaining import Surroundings, cost, explain, phase
from gateway.routes.ops.operations import WAITS_FOR
from sluiceway.queue.queue_state import EntryHolder
from sluiceway.store.operating.ops import OperationSeen, TurnSeen
from sluiceway.store.people.usage import ChargedCall
from sluiceway.store.records import OPEN, UNENDED, Operation, Task

NOW = datetime.now(UTC)
AROUND = Surroundings(lease_seconds=10, chat_workers=2, waiting=7, consumers=1)
ALIVE, SILENT = EntryHolder("w-1", 0.3), EntryHolder("w-1", 41)
MODEL_AWAY = {"state": "waiting", "since": "12:00", "code": "MODEL_TIMEOUT", "attempt": 2, "nextTryAt": "12:01"}


def _task(**fields: Any) -> Task:
    known: dict[str, Any] = dict.fromkeys(Task.__slots__)
    known |= {
        "id": "t-1",
        "session_id": "s",
        "status": "running",
        "attempt": 2,
        "created_at": NOW,
        "open_operations": 0,
    }
    return Task(**known | fields)


def _operation(status: str) -> Operation:
    known: dict[str, Any] = dict.fromkeys(Operation.__slots__)
    return Operation(**known | {"id": "op-1", "task_id": "t-1", "tool_name": "book", "status": status, "runner": "r-1"})


def _evidence(**fields: Any) -> Evidence:
    seen = TurnSeen(_task(**fields), 65.0, 60.0, None, 3.0, None)
    return Evidence(seen, None, "1-0", True, None, 0, None)


def _waiting(status: str, holder: EntryHolder | None = None, queued: bool = False) -> Evidence:
    operation = OperationEvidence(OperationSeen(_operation(status), 5, 300, None), holder, queued)
    return replace(_evidence(status="waiting", open_operations=1), queued=False, operations=[operation])


def _waits_for_model(code: str | None = None) -> Evidence:
    wait = {"status": {"code": code}} if code is not None else None
    at = datetime(2026, 1, 2, 12, 0, 30, tzinfo=UTC)
    return replace(_evidence(status="waiting", retry_at=at, model_wait=wait), queued=False)


CASES: dict[str, tuple[Evidence, Surroundings, str]] = {
    "alive": (replace(_evidence(), holder=ALIVE, shown=9), AROUND, "Worker w-1 (alive 0.3 s ago) has it, attempt 2"),
    "at the model": (
        replace(_evidence(), holder=ALIVE, status=MODEL_AWAY),
        AROUND,
        "waits for the model since 12:00 (MODEL",
    ),
    "asking": (
        replace(_evidence(attempt=1), holder=ALIVE, shown=2, newest="start-step"),
        AROUND,
        "attempt 1: it asks its model, which has said nothing in this step, 60 s ago begun",
    ),
    "a model that stopped": (
        replace(_evidence(), holder=ALIVE, shown=9, newest="text-delta", quiet_seconds=41.0),
        AROUND,
        "it has begun to answer, and its model is silent for 41 s",
    ),
    "a model that pauses": (
        replace(_evidence(), holder=ALIVE, shown=9, newest="text-delta", quiet_seconds=4.0),
        AROUND,
        "it has begun to answer.",
    ),
    "between its steps": (
        replace(_evidence(), holder=ALIVE, shown=9, newest="tool-output-available", quiet_seconds=41.0),
        AROUND,
        "it has begun to answer, and nothing more came for 41 s",
    ),
    "silent": (replace(_evidence(), holder=SILENT), AROUND, "Its worker w-1 is silent for 41 s"),
    "nobody to take over": (replace(_evidence(), holder=SILENT), replace(AROUND, chat_workers=0), "none is ready"),
    "lost": (replace(_evidence(), queued=False), AROUND, "in no queue: the reconciler queues it"),
    "lost for good": (
        replace(_evidence(), queued=False),
        replace(AROUND, consumers=0),
        "no completion consumer is running!",
    ),
    "queued": (_evidence(status="queued"), AROUND, "waits for 65 s for a chat worker: 7 turns wait"),
    "without workers": (_evidence(status="queued"), replace(AROUND, chat_workers=0), "and none is ready"),
    "failed": (
        _evidence(status="failed", error={"code": "X_Y"}, settled_at=NOW),
        AROUND,
        "It failed 3.0 s ago, in attempt 2: this version",
    ),
    "not finalized": (_evidence(status="completed"), AROUND, "Its stream may not be closed yet"),
    "a person": (
        _waiting("approval"),
        AROUND,
        "It waits for a person's answer to `book` (op-1), which fails in 5 min.",
    ),
    "its model": (_waits_for_model(), AROUND, "is asked again at 12:00:30 UTC"),
    "in its model's line": (_waits_for_model("MODEL_IN_LINE"), AROUND, "in its model's line, holds no worker"),
    "the client": (_waiting("client"), AROUND, "the client's output of `book`"),
    "a webhook": (_waiting("accepted"), AROUND, "the webhook of an outside service for `book`"),
    "no runner": (_waiting("pending", queued=True), AROUND, "in its queue, with no runner that has it"),
    "a runner": (_waiting("running", ALIVE), AROUND, "with runner w-1 (alive 0.3 s ago)"),
    "a dead runner": (_waiting("running", SILENT), AROUND, "with runner w-1, silent for 41 s"),
    "a dead runner, and no other": (
        _waiting("running", SILENT),
        replace(AROUND, offered={"another"}),
        "silent for 41 s, and no runner offers that tool now: it fails a minute after one was last heard of.",
    ),
    "a runner that drains": (_waiting("running", ALIVE), replace(AROUND, offered=set()), "which fails in 5 min"),
    "whoever has it": (
        replace(_evidence(), holder=SILENT),
        replace(AROUND, broken="Redis: takes no writes: it is full (maxmemory)"),
        "Nothing goes on until this is mended: Redis: takes no writes: it is full (maxmemory). Its worker w-1",
    ),
    "a person, without a runner": (_waiting("approval"), replace(AROUND, offered=set()), "which fails in 5 min"),
    "all drained": (
        _evidence(status="queued"),
        replace(AROUND, chat_workers=0, lacking=" w-1 is there, and not ready: operators: drained by an operator."),
        "and none is ready. w-1 is there, and not ready: operators: drained",
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.requirement("OP-6")
def test_the_sentence_says_what_holds_a_turn_up(case: str) -> None:
    evidence, around, words = CASES[case]
    sentence = explain(evidence, around)
    assert words in sentence, sentence
    assert sentence.endswith(".")
    assert 0 < len(phase(evidence, around)) < 160


@pytest.mark.requirement("OP-6")
def test_a_turn_behind_another_names_it_and_a_wish_to_end_is_told() -> None:
    evidence = _evidence(status="queued")
    behind = replace(evidence, seen=replace(evidence.seen, behind="t-0", cancel_seconds=4.0))
    sentence = explain(behind, AROUND)
    assert "behind turn t-0 of its session" in sentence
    assert sentence.endswith("Somebody asked 4.0 s ago for it to end.")


def test_a_price_that_is_not_known_is_no_zero() -> None:
    def call(price: float | None) -> ChargedCall:
        known: dict[str, Any] = dict.fromkeys(ChargedCall.__slots__)
        return ChargedCall(**known | {"cost": price})

    assert cost([call(0.25), call(0.5)]) == "Cost: $0.7500, of 2 model calls"
    assert cost([call(0.25), call(None)]) == "Cost: $0.2500, of 2 model calls, without 1 whose price is not known"
    assert cost([call(None)]) == "Cost: no price is known (MODEL_PRICES), of 1 model calls"


def test_every_operation_that_has_not_ended_waits_for_somebody_who_has_a_name() -> None:
    assert WAITS_FOR.keys() == OPEN
    assert set(WAITS_FOR.values()) == set(get_args(WaitsFor))
    assert set(re.findall(r"'(\w+)'", UNENDED)) == OPEN
