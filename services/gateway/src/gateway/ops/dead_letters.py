"""Dead letters, once their cause is mended: put into their queue again, or answered by a new turn.

Guarantees: a letter is forgotten only after what it asked for was asked for again. Asked twice it does nothing twice:
claiming a turn, and ending an operation, are compare-and-sets.
"""

import json
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.queue.work_queue import Producer
from sluiceway.store import Store
from sluiceway.store.operating.dead_letters import DeadLetter
from sluiceway.store.records import OPEN
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.turn.intake import TurnIntake
from sluiceway.wire.jobs import ChatJob, CompletionJob, Job, ProgressJob, ToolJob

from gateway.api.problems import DeadLetterNotFound, NotReplayable


@dataclass(frozen=True, slots=True)
class Replayed:
    """`task_id`: the turn that continues, or the new one that answers the same message."""

    task_id: str | None
    detail: str


class DeadLetters:
    def __init__(self, redis: Redis, store: Store, intake: TurnIntake) -> None:
        self._redis = redis
        self._store = store
        self._intake = intake

    async def get(self, letter_id: int) -> DeadLetter:
        """Raises DeadLetterNotFound, StoreUnavailable."""
        letter = await self._store.dead_letters.get(letter_id)
        if letter is None:
            raise DeadLetterNotFound
        return letter

    async def edit(self, letter_id: int, said: dict[str, Any]) -> None:
        """Let it say that, which has to be a job of its queue. Raises DeadLetterNotFound, NotReplayable."""
        kind = keys.kind_of((await self.get(letter_id)).queue)
        try:
            job: Job = _kind_of_job(kind).validate_python(said)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise NotReplayable(f"This is no job of the queue {kind}: {where}: {first['msg']}") from None
        task_id = job.task_id if isinstance(job, ChatJob) else None
        if not await self._store.dead_letters.rewrite(letter_id, job.encode(), task_id):
            raise DeadLetterNotFound

    async def replay(self, letter_id: int) -> Replayed:
        """Raises DeadLetterNotFound, NotReplayable, and what accepting a turn raises."""
        letter = await self.get(letter_id)
        kind = keys.kind_of(letter.queue)
        if kind == keys.CHAT:
            replayed = await self._replay_turn(letter)
        else:
            await self._check(letter, kind)
            await Producer(self._redis, kind).add(letter.body)
            replayed = Replayed(letter.task_id, f"It is in the queue {kind} again.")
        await self._store.dead_letters.remove(letter.id)
        return replayed

    async def _replay_turn(self, letter: DeadLetter) -> Replayed:
        """A turn that was given up has ended, and is not begun again: its message gets another one."""
        task = await self._store.turns.get(letter.task_id) if letter.task_id is not None else None
        if task is None:
            raise NotReplayable("It names no turn that there is: nothing would come of it.")
        if not task.ended:
            await Producer(self._redis, keys.CHAT).add(letter.body)
            return Replayed(task.id, "Its turn has not ended: it is in the queue again.")
        turn = NewTurn(
            session_id=task.session_id,
            user_id=task.user_id,
            text="",
            regenerate=True,
            replaces=task.message_id,
            policy="reject",
            model=task.model,
            traceparent=f"00-{token_hex(16)}-{token_hex(8)}-01",
        )
        accepted = await self._intake.accept(turn)
        return Replayed(accepted.task.id, f"Turn {accepted.task.id} answers the same message.")

    async def _check(self, letter: DeadLetter, kind: str) -> None:
        """An operation that has ended is not run again: its turn has gone on without it."""
        if kind == keys.COMPLETIONS:
            operation_id = _operation_named_by(letter.body)
        else:
            try:
                operation_id = ToolJob.model_validate_json(letter.body).operation_id
            except ValidationError:
                raise NotReplayable("It cannot be read: it would come back.") from None
        operation = await self._store.operations.get(operation_id) if operation_id is not None else None
        if operation is not None and operation.status not in OPEN:
            raise NotReplayable(f"Its operation has ended ({operation.status}), and its turn has gone on.")


def _kind_of_job(kind: str) -> TypeAdapter[Any]:
    if kind == keys.CHAT:
        return TypeAdapter(ChatJob)
    return TypeAdapter(CompletionJob | ProgressJob) if kind == keys.COMPLETIONS else TypeAdapter(ToolJob)


def _operation_named_by(body: bytes) -> str | None:
    try:
        named = json.loads(body)["operation_id"]
    except (ValueError, KeyError, TypeError):
        raise NotReplayable("It cannot be read: it would come back.") from None
    return named if isinstance(named, str) else None
