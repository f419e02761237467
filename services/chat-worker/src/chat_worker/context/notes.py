"""Notes of conversations, made beside their turns: an answer waits for them only so long, and what is paid is kept.

Guarantees
- Notes of a session are made by one worker at a time (`sw:session:{ID}:notes`). A turn that needs them meanwhile, at
  any worker, waits for those instead of paying its own.
- They take as long as their model needs, within MOST_SECONDS, also when the turn that asked for them has ended or was
  cancelled. They are stored where the conversation is still the one that they are of.
- Each call is charged to the turn that asked for them.
Not guaranteed: notes that a process was at when it was killed, or ended. The next turn that needs them makes them.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.cancelling import cancelled
from sluiceway.errors import NotStorable, RedisUnavailable, Unavailable
from sluiceway.process.logs import get_logger
from sluiceway.redis.client import command
from sluiceway.scripts import Scripts
from sluiceway.store import Store
from sluiceway.store.records import Task
from sluiceway.store.sessions.conversations import Compaction, Conversation
from sluiceway_llm.prices import Prices

from chat_worker.account import Account, Counted
from chat_worker.context.exchanges import Exchange
from chat_worker.context.summary import Summariser, SummaryAsked

MOST_SECONDS = 300.0
# The claim of a killed worker is gone after so long.
_CLAIM_SECONDS = 15
_LOOK_SECONDS = 0.25

Taken = Literal["made", "late", "failed"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Notes of a turn's conversation through the last of these exchanges. `writer`: who makes them, and `window`: how
    many tokens that one takes."""

    task: Task
    conversation: Conversation
    exchanges: Sequence[Exchange]
    writer: str
    window: int

    @property
    def through(self) -> int:
        return self.exchanges[-1].through

    @property
    def sequences(self) -> list[int]:
        return [one.sequence for one in self.conversation.messages if one.sequence <= self.through]


class NoteTaking:
    """`run` beside the queues ends what is left of it. `seconds`: for so long a turn waits for notes."""

    def __init__(
        self,
        store: Store,
        redis: Redis,
        summariser: Summariser,
        seconds: float,
        prices: Prices | None = None,
        counted: Counted | None = None,
    ) -> None:
        self._store = store
        self._redis = redis
        self._scripts = Scripts(redis)
        self._summariser = summariser
        self._seconds = seconds
        self._prices = prices
        self._counted = counted
        self._making: dict[str, asyncio.Task[Taken]] = {}
        self._log = get_logger()

    def begin(self, wanted: Wanted) -> asyncio.Task[Taken]:
        """Make them, unless notes of that session are being made. Never waits, never fails."""
        session = wanted.task.session_id
        if session not in self._making:
            making = asyncio.create_task(self._make(wanted), name="notes")
            self._making[session] = making
            making.add_done_callback(lambda _: self._making.pop(session))
        return self._making[session]

    async def take(self, wanted: Wanted) -> Taken:
        """Wait for them; `late`: they are still being made, and the answer need not wait any longer."""
        making = self.begin(wanted)
        done, _ = await asyncio.wait((making,), timeout=self._seconds)
        return making.result() if done and not making.cancelled() else "late"

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await asyncio.Event().wait()
        finally:
            await self.stop()

    @property
    def making(self) -> list[asyncio.Task[Taken]]:
        return list(self._making.values())

    async def stop(self) -> None:
        """What is being made is left to another turn."""
        await cancelled(self.making)

    async def _make(self, wanted: Wanted) -> Taken:
        session = wanted.task.session_id
        owner = secrets.token_hex(8)
        if not await self._claim(session, owner):
            return await self._made_elsewhere(session)
        making = asyncio.create_task(self._noted(wanted), name="notes-asked")
        try:
            while not (await asyncio.wait((making,), timeout=_CLAIM_SECONDS / 3))[0]:
                await self._renew(session, owner)
            return making.result()
        except (Unavailable, NotStorable) as error:
            self._log.warning("notes_not_stored", session_id=session, reason=str(error))
            return "failed"
        except Exception:  # noqa: BLE001 - whatever it was: a turn is answered without notes, too
            self._log.exception("notes_broken", session_id=session)
            return "failed"
        finally:
            await cancelled((making,))
            await self._leave(session, owner)

    async def _noted(self, wanted: Wanted) -> Taken:
        task, before = wanted.task, wanted.conversation.compaction
        newest = await self._store.conversations.newest(task)
        if newest is not None and newest.through_sequence > wanted.conversation.cut_off:
            return "made"  # since the turn read its conversation
        account, began = Account(self._prices, counted=self._counted), time.monotonic()
        asked = SummaryAsked(wanted.writer, wanted.window, task.user_id, task.session_id)
        notes = before.summary if before is not None else None
        try:
            async with asyncio.timeout(MOST_SECONDS):
                summary = await self._summariser.summarise(asked, notes, wanted.exchanges, account)
        except TimeoutError:
            self._log.warning("summary_failed", model=wanted.writer, code="TIMEOUT", seconds=MOST_SECONDS)
            return "failed"
        finally:
            await self._charge(task, account)
        if summary is None:
            return "failed"
        compaction = Compaction(wanted.through, summary.text, wanted.writer, summary.usage or None)
        stored = await self._store.conversations.note(task.session_id, compaction, before, wanted.sequences)
        seconds = round(time.monotonic() - began, 1)
        self._log.info("notes_made", model=wanted.writer, through=wanted.through, seconds=seconds, stored=stored)
        return "made" if stored else "failed"

    async def _charge(self, task: Task, account: Account) -> None:
        try:
            await self._store.usage.charge(task, account.unwritten)
        except (Unavailable, NotStorable) as error:
            self._log.warning("usage_lost", calls=len(account.unwritten), reason=str(error))

    async def _claim(self, session: str, owner: str) -> bool:
        """Where Redis is away nobody is asked: notes that are made twice are better than none."""
        try:
            key = keys.session_notes(session)
            return await command(self._redis, "SET", key, owner, "PX", _CLAIM_SECONDS * 1000, "NX") is not None
        except RedisUnavailable:
            return True

    async def _renew(self, session: str, owner: str) -> None:
        """Who slept past its end leaves it to whoever has it now."""
        with contextlib.suppress(RedisUnavailable):
            key = keys.session_notes(session)
            await self._scripts.run("stream/renew_if_equal", [key], [owner, _CLAIM_SECONDS * 1000])

    async def _leave(self, session: str, owner: str) -> None:
        try:
            await self._scripts.run("stream/delete_if_equal", [keys.session_notes(session)], [owner])
        except RedisUnavailable as error:
            self._log.debug("claim_not_left", reason=str(error))  # it expires

    async def _made_elsewhere(self, session: str) -> Taken:
        """Wait for another worker, which may die."""
        try:
            while await command(self._redis, "EXISTS", keys.session_notes(session)):  # noqa: ASYNC110 - another process
                await asyncio.sleep(_LOOK_SECONDS)
        except RedisUnavailable:
            return "failed"
        return "made"
