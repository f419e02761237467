"""What operators are told of a turn that has ended: what failed where, who wanted it, what its user was told."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from chat_worker.handler import GAVE_UP
from chat_worker.settings import Settings as WorkerSettings
from chat_worker.step.step import TOOL_LIMIT
from chat_worker.turn.forms import ANSWER_DOES_NOT_FIT
from chat_worker.turn.runner import BROKEN
from completion_consumer.reconciler.unfinished_turns import EXPIRED
from completion_consumer.settings import Settings as ConsumerSettings
from gateway.ops.endings import FAILURES, WANTED, calls, why
from sluiceway.store.operating.ops import TurnSeen
from sluiceway.store.records import Operation, Task
from sluiceway.store.turns.accepting import Policy
from sluiceway.turn.not_storable import NOT_STORABLE
from sluiceway_llm.model_errors import ModelError

ROOT = Path(__file__).parents[3]
FACTS = {
    "worker": "w-1",
    "step": 2,
    "model": "m-1",
    "model_status": 401,
    "request_id": "req_7",
    "attempts": 3,
    "model_calls": 4,
    "told": "The model server refused the key.",
}
pytestmark = pytest.mark.requirement("OP-6")


def _seen(status: str, facts: dict[str, Any] | None, code: str | None = None) -> TurnSeen:
    known: dict[str, Any] = dict.fromkeys(Task.__slots__)
    error = {"code": code, "message": "It says: a secret"} if code is not None else None
    return TurnSeen(Task(**known | {"status": status, "error": error}), 9, 8, None, 1, None, facts)


def test_a_failure_says_where_what_as_the_log_had_it_what_its_user_was_told_and_what_to_do() -> None:
    assert why(_seen("failed", FACTS, "MODEL_KEY_REJECTED")) == (
        ", step 2, at worker w-1: its model server refused the key (MODEL_KEY_REJECTED, model m-1, status 401, request"
        ' id req_7, after 3 requests of the step). Its user was told: "The model server refused the key." Do: Look at'
        " the key and the account of the model server (docs/runbook/turns-fail.md): OPENAI_API_KEY."
    )


@pytest.mark.parametrize("facts", [None, {}, {"worker": "w"}])
def test_what_was_stored_before_it_was_kept_is_told_by_its_code_and_never_by_its_message(facts: Any) -> None:
    for code in ("MODEL_BAD_REQUEST", "OF_A_LATER_VERSION"):
        told = why(_seen("failed", facts, code))
        assert code in told
        assert "secret" not in told


def test_each_who_may_end_a_turn_has_words_and_whoever_is_not_known_is_told_so() -> None:
    # As they are written: by the policies, and by what is no policy.
    assert {"interrupt", "latest"} < set(get_args(Policy))
    for by, words in WANTED.items():
        facts = {"by": by, "for": "task_2", "name": "night-shift"}
        assert why(_seen("cancelled", facts)) == f": {words.format_map(facts)}."
    assert why(_seen("cancelled", None)) == ": it is not known who wanted it."
    assert why(_seen("completed", None)) == "."
    assert "task_2, which steers it" in why(_seen("completed", {"by": "steer", "for": "task_2"}))


def test_a_call_that_failed_is_told_by_its_type_alone() -> None:
    known: dict[str, Any] = dict.fromkeys(Operation.__slots__)
    known |= {"id": "op_1", "tool_name": "book", "step": 1, "attempt": 2, "runner": "r-1"}
    failed = Operation(**known | {"status": "failed", "error": {"type": "TIMEOUT", "message": "a secret"}})
    denied = Operation(**known | {"status": "denied", "runner": None})
    fine = Operation(**known | {"status": "succeeded"})
    assert list(calls([fine, failed, denied])) == [
        "Call op_1 of book, step 1: failed (TIMEOUT), with runner r-1, attempt 2",
        "Call op_1 of book, step 1: denied",
    ]


def _of(error: type[ModelError]) -> Iterator[str]:
    yield error.code
    for kind in error.__subclasses__():
        yield from _of(kind)


def test_every_code_that_a_turn_can_end_with_has_its_sentence() -> None:
    codes = {*_of(ModelError)} - {ModelError.code}  # which nobody raises
    codes |= {GAVE_UP, TOOL_LIMIT, ANSWER_DOES_NOT_FIT, BROKEN["code"], EXPIRED["code"], NOT_STORABLE}
    codes |= {"MODEL_NOT_ALLOWED", "TOOL_NAME_TAKEN", "TURN_FAILED"}
    assert FAILURES.keys() == codes


def test_what_is_to_be_done_names_settings_and_pages_that_exist() -> None:
    settings = {name.upper() for kind in (WorkerSettings, ConsumerSettings) for name in kind.model_fields}
    for code, one in FAILURES.items():
        told = f"{one.what} {one.do}"
        assert set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", told)) <= settings, code
        assert all((ROOT / page).is_file() for page in re.findall(r"docs/[\w/-]+\.md", told)), code
