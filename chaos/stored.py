"""What is durable when a scenario is over: turns, answers and operations in Postgres, and the effects of tools."""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

Parts = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class StoredTask:
    id: str
    status: str
    error: str | None


@dataclass(frozen=True, slots=True)
class StoredOperation:
    status: str
    tool_name: str
    input: dict[str, Any]


@dataclass(slots=True)
class Stored:
    """`tasks`, and `answers`, the assistant messages: by session and user message. `operations`: by task."""

    tasks: dict[tuple[str, str], list[StoredTask]] = field(default_factory=lambda: defaultdict(list))
    answers: dict[tuple[str, str], list[Parts]] = field(default_factory=lambda: defaultdict(list))
    operations: dict[str, list[StoredOperation]] = field(default_factory=lambda: defaultdict(list))
    tally: Counter[str] = field(default_factory=Counter)

    def tasks_of(self, session_id: str, message_id: str) -> Sequence[StoredTask]:
        return self.tasks.get((session_id, message_id), [])

    def answers_of(self, session_id: str, message_id: str) -> Sequence[Parts]:
        return self.answers.get((session_id, message_id), [])

    def operations_of(self, task_id: str) -> Sequence[StoredOperation]:
        return self.operations.get(task_id, [])


async def read_stored(database_url: str, session_ids: Collection[str], tally: Counter[str]) -> Stored:
    """All that was stored for these sessions. `tally`: how often each line is in the file of effects."""
    stored = Stored(tally=tally)
    connection = await asyncpg.connect(database_url)
    try:
        wanted = list(session_ids)
        for row in await connection.fetch(
            "SELECT id, session_id, user_message_id, status, error FROM tasks WHERE session_id = ANY($1)", wanted
        ):
            task = StoredTask(row["id"], row["status"], row["error"])
            stored.tasks[row["session_id"], row["user_message_id"]].append(task)
        for row in await connection.fetch(
            "SELECT session_id, parent_id, parts FROM messages WHERE session_id = ANY($1) AND role = 'assistant'",
            wanted,
        ):
            stored.answers[row["session_id"], row["parent_id"]].append(json.loads(row["parts"]))
        for row in await connection.fetch(
            "SELECT task_id, status, tool_name, input FROM operations WHERE session_id = ANY($1) ORDER BY place", wanted
        ):
            operation = StoredOperation(row["status"], row["tool_name"], json.loads(row["input"]))
            stored.operations[row["task_id"]].append(operation)
    finally:
        await connection.close()
    return stored
