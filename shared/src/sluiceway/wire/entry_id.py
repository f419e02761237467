"""Ids of stream entries: ATTEMPT-SEQUENCE. They grow over a task's attempts, so a reader sees the attempt in the id."""

EntryId = tuple[int, int]


def parse_entry_id(text: str) -> EntryId:
    """`"2-17"` → `(2, 17)`. Raises ValueError when it is no entry id."""
    attempt, dash, sequence = text.partition("-")
    if not dash or not (attempt.isascii() and attempt.isdecimal() and sequence.isascii() and sequence.isdecimal()):
        raise ValueError(f"{text[:64]!r} is not an entry id such as 1-42")
    entry_id = (int(attempt), int(sequence))
    if max(entry_id) >= 2**64:
        raise ValueError("an entry id has two parts below 2^64")
    return entry_id


def format_entry_id(entry_id: EntryId) -> str:
    return f"{entry_id[0]}-{entry_id[1]}"
