"""Turns in mid-answer, each followed by a viewer, while Redis fails over or moves keys: what all of them must show."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from harness.clients.chat import Chat, Turn
from harness.clients.viewer import Viewer
from harness.databases.database import Database, stored_answer
from harness.model_server import answer_to
from harness.processes.services import System
from harness.waiting import wait_until

_TOKENS = 100
_RATE = 20


@dataclass(frozen=True)
class Watched:
    """One turn. `text`: what its whole answer is."""

    turn: Turn
    viewer: Viewer
    text: str

    @property
    def shown(self) -> str:
        return self.viewer.message.text


class WatchedTurns:
    def __init__(self, chat: Chat, turns: list[Watched]) -> None:
        self._chat = chat
        self.turns = turns

    async def flowing(self) -> None:
        """Wait until every viewer has seen some text, and none all of it."""
        for one in self.turns:
            await wait_until(lambda: one.shown, 30, "a viewer sees text")  # noqa: B023
        assert all(one.shown != one.text for one in self.turns), "an answer was over before anything happened"

    async def more_text(self, since: float) -> float:
        """How many seconds after that moment of the event loop the last of the viewers saw new text, or its end."""
        before = {one.turn.task_id: one.shown for one in self.turns}
        for one in self.turns:
            await wait_until(lambda: one.shown not in ("", before[one.turn.task_id]) or one.viewer.ended, 30)  # noqa: B023
        return asyncio.get_running_loop().time() - since

    async def whole(self, database: Database) -> None:
        """Every answer is there, once, and nothing else: for who followed, for who comes now, and in Postgres."""
        for one in self.turns:
            message = await one.viewer.end()
            assert message.text == one.text
            assert message.finish is not None
            assert await stored_answer(database, one.turn.message_id) == one.text
            assert await self._chat.messages(one.turn.session_id) == [
                ("user", (await self._chat.messages(one.turn.session_id))[0][1]),
                ("assistant", one.text),
            ]
            async with Viewer(self._chat.stream_url(one.turn)) as late:
                assert (await late.end()).text == one.text


@asynccontextmanager
async def watched_turns(system: System, chat: Chat, name: str, number: int) -> AsyncIterator[WatchedTurns]:
    """So many of them, followed at all gateways, in both protocols."""
    async with AsyncExitStack() as stack:
        turns = []
        for place in range(number):
            text = f"{name} {place}"
            turn = await chat.ask(f"{text} [[tokens={_TOKENS} rate={_RATE}]]")
            gateways = system.gateways[place % len(system.gateways) :] + system.gateways
            viewer = Viewer(*(one.url + turn.stream_path for one in gateways), protocol=6 + place % 2)
            turns.append(Watched(turn, await stack.enter_async_context(viewer), answer_to(text, _TOKENS)))
        yield WatchedTurns(chat, turns)
