"""Where a client stands in something longer: in a stream of events, or in the list of its sessions.

A stream's cursor is an entry id (`1-42`), sent as `Last-Event-ID` (what EventSource does by itself; it wins, as the
URL still has the cursor of the first connection) or as `?after=`; or a number of chunks seen, `?startIndex=`.
"""

import base64
import binascii
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, model_validator
from pydantic_core import PydanticCustomError
from sluiceway.ids import is_client_id
from sluiceway.store.sessions.sessions import SessionCursor
from sluiceway.wire.entry_id import EntryId, parse_entry_id

from gateway.api.inputs import In, Params, WholeNumber, text_schema
from gateway.api.problems import InvalidCursor, InvalidParameter
from gateway.settings import Settings

BEGINNING: EntryId = (0, 0)
# At the ends of what a datetime can say, no zone can be converted into another.
_YEARS = (1970, 9000)
_ENTRY_ID_PATTERN = "^[0-9]{1,19}-[0-9]{1,19}$"


def _entry_id(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_entry_id(value)
    except ValueError:
        raise PydanticCustomError(InvalidCursor.code, "must be an event's id, such as 1-42") from None


EntryCursor = Annotated[EntryId, BeforeValidator(_entry_id), text_schema(_ENTRY_ID_PATTERN, examples=["1-42"])]
Version = Literal["6", "7"]


class StreamParams(Params):
    """Which flavour of the protocol the client speaks."""

    protocol: Annotated[Version | None, In("query")] = None
    stream_version: Annotated[Version | None, In("header", "x-ui-message-stream-version")] = None

    @property
    def version(self) -> int:
        """6 unless the client says that it knows the chunks of 7."""
        return 7 if "7" in (self.protocol, self.stream_version) else 6


class CursorParams(StreamParams):
    """One place to resume from, or none: from the beginning."""

    last_event_id: Annotated[EntryCursor | None, In("header", "Last-Event-ID")] = None
    after: Annotated[EntryCursor | None, In("query")] = None
    start_index: Annotated[WholeNumber | None, In("query", "startIndex")] = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.after is not None and self.start_index is not None:
            raise PydanticCustomError(InvalidCursor.code, "give ?after= or ?startIndex=, not both")
        return self

    @property
    def cursor(self) -> EntryId:
        """The header wins over the query, in which an EventSource still has what it began with."""
        return self.last_event_id or self.after or BEGINNING

    @property
    def skip(self) -> int | None:
        """The number of chunks seen, where that is the cursor."""
        return self.start_index if self.last_event_id is None else None


def encode_session_cursor(cursor: SessionCursor) -> str:
    text = f"{cursor.updated_at.isoformat()} {cursor.id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_session_cursor(text: str) -> SessionCursor:
    """Raises InvalidCursor."""
    try:
        padded = text + "=" * (-len(text) % 4)
        updated_at, _, session_id = base64.b64decode(padded, altchars=b"-_", validate=True).decode().partition(" ")
        cursor = SessionCursor(datetime.fromisoformat(updated_at), session_id)
    except (binascii.Error, ValueError):
        raise InvalidCursor from None
    if cursor.updated_at.tzinfo is None or not _YEARS[0] <= cursor.updated_at.year <= _YEARS[1]:
        raise InvalidCursor
    if not is_client_id(session_id):
        raise InvalidCursor
    return cursor


def page_size(asked: int | None, settings: Settings) -> int:
    """Of a list. Raises InvalidParameter."""
    if asked is not None and asked > settings.max_page_size:
        raise InvalidParameter(
            f"A page has at most {settings.max_page_size} entries.", max_page_size=settings.max_page_size
        )
    return asked or settings.default_page_size
