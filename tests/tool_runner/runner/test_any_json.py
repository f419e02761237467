"""Whatever JSON goes into a tool, or comes out of it: one operation ends, once, with what can be stored and shown.

Any JSON: NUL, lone surrogates, absurd numbers, depth and size in every place of it.
"""

import json
from typing import Any, cast

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from sluiceway.operation.input_schema import InputSchema, UnfitSchema
from sluiceway.wire.events import ToolOutputAvailable, decode
from sluiceway.wire.jobs import CompletionJob
from sluiceway.wire.json_values import clean_json, encode_json
from tool_runner.runner.results import Failed, HandedOver, Outcome, Succeeded
from tool_runner.runner.running import Run
from tool_runner.tool.context import ToolContext
from tool_runner.tool.definition import FunctionTool, NoArguments, ToolFailed

from harness.databases.database import Database
from harness.processes.services import Service
from tests.any_json import ANY_JSON, ANY_TEXT, as_doubles, nested
from tests.tool_runner.operations import Caller

MAX_BYTES = 4096
# No tool of these tests looks at it.
NO_CONTEXT = cast("ToolContext", None)
DEEP = nested(5000)
LARGE = {"\x00" * 100: ["\ud800" * 10_000]}
FUNCTION_SCOPED = [HealthCheck.function_scoped_fixture]
MANY = settings(max_examples=200, deadline=None, suppress_health_check=FUNCTION_SCOPED)
# Each one is an operation in Postgres, in Redis and in the runner's process.
FEW = settings(max_examples=25, deadline=None, suppress_health_check=FUNCTION_SCOPED)
pytestmark = pytest.mark.requirement("CH-24")


class Typed(BaseModel):
    text: str
    count: int = 0
    names: dict[str, float] = {}
    inner: "Typed | None" = None


def told(outcome: Outcome) -> CompletionJob | None:
    """The completion of a run, as its consumer reads it."""
    assert isinstance(outcome, Succeeded | Failed | HandedOver)
    if isinstance(outcome, HandedOver):
        return None
    well = isinstance(outcome, Succeeded)
    result, error = (outcome.result, None) if isinstance(outcome, Succeeded) else (None, outcome.error)
    raw = CompletionJob(operation_id="op", success=well, result=result, error=error).encode()
    return CompletionJob.model_validate_json(raw)


@MANY
@given(returned=ANY_JSON)
@example(DEEP)
@example(LARGE)
async def test_any_result_is_one_that_can_be_told_stored_and_shown_and_has_its_size(
    database: Database, returned: Any
) -> None:
    async def answers(arguments: NoArguments) -> Any:
        """Answer."""
        return returned

    outcome = await Run(FunctionTool(answers)).run({}, NO_CONTEXT, 10, MAX_BYTES)
    job = told(outcome)
    if job is None or not job.success:
        return
    size = len(json.dumps(job.result, ensure_ascii=False).encode())
    assert size <= MAX_BYTES
    raw = encode_json(job.result)
    assert clean_json(job.result) == job.result
    assert await database.fetchval("SELECT $1::jsonb IS NOT NULL", raw.decode())
    shown = ToolOutputAvailable(tool_call_id="call", output=job.result)
    assert decode(shown.type, shown.encode()) == shown


@MANY
@given(message=ANY_TEXT, kind=ANY_TEXT, known=st.booleans())
async def test_any_failure_is_one_that_can_be_told(message: str, kind: str, known: bool) -> None:
    async def fails(arguments: NoArguments) -> None:
        """Fail."""
        raise ToolFailed(message, kind) if known else ValueError(message)

    job = told(await Run(FunctionTool(fails)).run({}, NO_CONTEXT, 10, MAX_BYTES))
    assert job is not None
    assert not job.success
    assert job.error is not None
    assert job.error.type
    assert job.error.message
    assert "\x00" not in job.error.type + job.error.message


@MANY
@given(arguments=ANY_JSON | st.dictionaries(st.sampled_from(["text", "count", "names", "inner", "\ud800"]), ANY_JSON))
@example({"text": "a", "inner": DEEP})
@example({"text": "\ud800\x00", "count": 10**400})
async def test_any_arguments_run_the_tool_or_are_refused_in_words(arguments: Any) -> None:
    ran: list[Typed] = []

    async def takes(arguments: Typed) -> dict[str, Any]:
        """Take."""
        ran.append(arguments)
        return arguments.model_dump()

    job = told(await Run(FunctionTool(takes)).run(arguments, NO_CONTEXT, 10, MAX_BYTES))
    assert job is not None
    assert job.success or job.error is not None
    if not ran:
        assert job.error is not None
        assert job.error.type in ("INVALID_ARGUMENTS", "FAILED")
        assert len(job.error.message) < 3000


_SCHEMA_WORDS = ["type", "properties", "required", "items", "anyOf", "pattern", "enum", "$ref", "additionalProperties"]
_SCHEMAS = st.dictionaries(st.sampled_from(_SCHEMA_WORDS) | ANY_TEXT, ANY_JSON, max_size=5)


@MANY
@given(schema=_SCHEMAS, arguments=ANY_JSON)
@example({"properties": {"a": DEEP}}, {})
@example({"type": "object", "properties": {"a": {"type": "string"}}}, {"a": DEEP})
@example({"type": "object", "additionalProperties": {"$ref": "#"}}, DEEP)
def test_any_schema_is_refused_or_judges_any_arguments(schema: dict[str, Any], arguments: Any) -> None:
    try:
        judge = InputSchema(schema)
    except UnfitSchema:
        return
    encode_json(judge.offered)
    problem = judge.problem(arguments)
    assert problem is None or 0 < len(problem) <= 500


@FEW
@given(value=ANY_JSON)
@example(nested(80))
@example({"text": "x" * 200_000})
async def test_a_real_runner_ends_an_operation_of_any_arguments_once(
    runner: Service, caller: Caller, database: asyncpg.Connection, value: Any
) -> None:
    operation = await caller.call("repeat_it", value=value)
    job = await caller.end(operation)
    stored = await caller.store.operations.get(operation.id)
    assert stored is not None
    if job.success:
        assert as_doubles(job.result) == as_doubles(clean_json(stored.input["value"]))
    else:
        assert job.error is not None
    await caller.all_acknowledged()
    assert runner.alive
    assert await database.fetchval("SELECT count(*) FROM dead_letters") == 0
