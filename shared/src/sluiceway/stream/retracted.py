"""Retracted ranges: the entries between two ids that replays leave out, because a retried step abandoned them.

As text, in a task's metadata: `KEPT>RESUMED,KEPT>RESUMED`. Both ends are shown, what lies between them is not.
"""

from sluiceway.wire.entry_id import EntryId, format_entry_id, parse_entry_id

RetractedRange = tuple[EntryId, EntryId]


def parse_retracted(text: str) -> tuple[RetractedRange, ...]:
    pairs = (pair.split(">") for pair in text.split(",") if pair)
    return tuple((parse_entry_id(kept), parse_entry_id(resumed)) for kept, resumed in pairs)


def with_range(retracted: str, kept: EntryId, resumed: EntryId) -> str:
    """The text with one more range. A later retry of the same step replaces the earlier one's range."""
    ranges = dict(parse_retracted(retracted)) | {kept: resumed}
    return ",".join(f"{format_entry_id(a)}>{format_entry_id(b)}" for a, b in ranges.items())
