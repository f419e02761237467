"""One stored event of a task's stream."""

from collections.abc import Mapping
from dataclasses import dataclass

from sluiceway.wire.entry_id import EntryId, parse_entry_id
from sluiceway.wire.events import Event, ProtocolVersion, UnknownEvent, decode


@dataclass(frozen=True, slots=True)
class Entry:
    """`protocol`: only for clients of that version; None: for all."""

    entry_id: EntryId
    event: Event | UnknownEvent
    protocol: ProtocolVersion | None

    @classmethod
    def parse(cls, entry_id: str, fields: Mapping[bytes, bytes]) -> "Entry":
        flavour = fields.get(b"v")
        protocol: ProtocolVersion | None = None if flavour is None else (7 if flavour == b"7" else 6)
        return cls(parse_entry_id(entry_id), decode(fields[b"t"].decode(), fields[b"d"]), protocol)
