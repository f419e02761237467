"""Where a new turn stands in its conversation: behind what is shown, or in the place of something.

A stock client edits in one of two ways: with the id of the message and another text, or with a message of a new id
behind a history that ends before what it replaces. It regenerates by the id of the answer, or with a history that ends
with the question. Whichever it is, what it shows then is what the server shows.
"""

from dataclasses import dataclass
from typing import Protocol

from sluiceway.errors import MessageNotFound
from sluiceway.store.database.pool import Connection
from sluiceway.store.turns.branches import (
    FIRST,
    Place,
    end_of_exchange,
    fill_parents,
    newest_question,
    place_and_followed,
    place_of,
)


class Placed(Protocol):
    """What a request says of its place; see `NewTurn`."""

    @property
    def session_id(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def files(self) -> tuple[str, ...]: ...
    @property
    def message_id(self) -> str | None: ...
    @property
    def parent_id(self) -> str | None: ...
    @property
    def regenerate(self) -> bool: ...
    @property
    def replaces(self) -> str | None: ...
    @property
    def edit(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Placing:
    """`follows`: what is shown is to end with this message first. `answers`: that message, which is stored, is to be
    answered. `edits`: it gets another text. `replaces`: something that is shown, or about to be, makes room."""

    follows: str | None = None
    answers: str | None = None
    edits: str | None = None
    replaces: bool = False


async def place(connection: Connection, turn: Placed) -> Placing:
    """Raises MessageNotFound."""
    if turn.regenerate:
        return await _again(connection, turn)
    if turn.edit and turn.message_id is not None:
        message = await place_of(connection, turn.session_id, turn.message_id)
        if message is not None and message.role == "user":
            return Placing(await _parent_of(connection, turn.session_id, message), edits=message.id, replaces=True)
    if turn.parent_id is None:
        return Placing()
    return await _behind(connection, turn.session_id, turn.parent_id)


async def _again(connection: Connection, turn: Placed) -> Placing:
    named = turn.replaces or turn.message_id
    if named is None:
        question = await newest_question(connection, turn.session_id)
    else:
        question = await place_of(connection, turn.session_id, named)
        if question is not None and question.role != "user":
            asked = await _parent_of(connection, turn.session_id, question)
            question = await place_of(connection, turn.session_id, asked)
    if question is not None:
        return Placing(question.id, answers=question.id, replaces=True)
    if turn.replaces is None and turn.message_id is not None and (turn.text or turn.files):
        # The message never arrived: whoever asks for its answer again has seen it fail.
        return Placing() if turn.parent_id is None else await _behind(connection, turn.session_id, turn.parent_id)
    raise MessageNotFound


async def _parent_of(connection: Connection, session_id: str, message: Place) -> str:
    if message.parent_id is None:
        await fill_parents(connection, session_id)
        filled = await place_of(connection, session_id, message.id)
        message = filled or message
    return message.parent_id or FIRST


async def _behind(connection: Connection, session_id: str, parent_id: str) -> Placing:
    """A parent that is a question is followed by its answer, where there is one: a client that lost it, or shows none,
    does not mean to replace it."""
    if parent_id == FIRST:
        shown = await newest_question(connection, session_id)
        return Placing(FIRST, replaces=True) if shown is not None else Placing()
    found = await place_and_followed(connection, session_id, parent_id)
    if found is None:
        return Placing()
    parent, followed = found
    if not (parent.superseded or followed):
        return Placing()
    await fill_parents(connection, session_id)
    return Placing(await end_of_exchange(connection, session_id, parent), replaces=True)
