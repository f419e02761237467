"""One attempt at a turn: what there is of it is loaded while its stream is taken over, then it is run step by step."""

import asyncio

from sluiceway.store.people.understandings import Acquaintance
from sluiceway.store.records import Task
from sluiceway.store.sessions.conversations import Conversation
from sluiceway.stream.entry import Entry
from sluiceway.stream.writer import Begun
from sluiceway.turn.shown import Durable

from chat_worker.account import Account
from chat_worker.attempt import Attempt
from chat_worker.context.context import Held
from chat_worker.metrics import TurnMeter
from chat_worker.model_wait import ModelWait
from chat_worker.prompt.attachments import unread_files
from chat_worker.step.note import Note
from chat_worker.titles.titles import Titles
from chat_worker.turn.answering import Answering
from chat_worker.turn.opening import Opening
from chat_worker.turn.requests import Requests
from chat_worker.turn.steps import TurnSteps


class Attempts:
    def __init__(self, opening: Opening, requests: Requests, steps: TurnSteps, titles: Titles | None = None) -> None:
        self._opening = opening
        self._requests = requests
        self._steps = steps
        self._titles = titles

    async def run(
        self, task: Task, entry_id: str, meter: TurnMeter, account: Account, facts: dict[str, str | int]
    ) -> str:
        """Until the turn has ended or waits: which of it. Raises Fenced, Forgotten, NotStorable, Unavailable."""
        (begun, entries), (conversation, person), durable = await self._loaded(task, entry_id)
        with self._opening.stream(task) as writer:
            attempt = Attempt(task, writer, meter, account, background=durable.in_background, facts=facts)
            if begun.cancelled or task.cancel_requested_at is not None:
                note = Note.parse(begun.reached)
                return await self._steps.cancel(attempt, note.reached if note is not None else None)
            waited = ModelWait.read(task.model_wait)
            turn = Answering(attempt, Held(conversation), begun, durable, self._requests.patience(waited), waited)
            self._requests.begin(turn, person)
            return await self._run(turn, entries)

    async def release(self, task: Task) -> None:
        """Give the turn up, for its next attempt."""
        await self._opening.release(task)

    async def _loaded(
        self, task: Task, entry_id: str
    ) -> tuple[tuple[Begun, list[Entry]], tuple[Conversation, Acquaintance], Durable]:
        # It is not begun after the release that follows a failure of the others.
        beginning = asyncio.create_task(self._opening.begin(task, entry_id))
        # Where the others fail first, or this is cancelled, nobody comes to ask how it ended.
        beginning.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        try:
            said, durable = await asyncio.gather(self._requests.load(task), self._opening.durable(task))
        finally:
            await asyncio.wait((beginning,))
        return await beginning, said, durable

    async def _run(self, turn: Answering, entries: list[Entry]) -> str:
        beside, said = turn.attempt.beside, turn.held.conversation.messages
        for unread in unread_files(said):
            beside.add(unread)
        resumed = bool(turn.durable.parts)
        making = self._titles.begin(turn.task, said, beside, resumed=resumed) if self._titles is not None else None
        try:
            left = await self._steps.run(turn, entries)
        except BaseException:
            if making is not None and not beside.heard.is_set():
                making.cancel()  # the next attempt's
            raise
        beside.heard.set()
        return left
