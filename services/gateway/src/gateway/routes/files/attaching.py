"""The files of a message that is about to be accepted: those that it brings along are stored, the others are named.

Guarantees: nothing is fetched. A message that is sent again with the same id brings the same files: they are stored
once. What was stored for a message that is refused then goes after a day, as any file does that no message names.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from sluiceway.errors import FileNotFound, FileQuotaReached, FilesUnavailable, FileTooLarge, FileTypeRefused
from sluiceway.files.keeping import Sent
from sluiceway.store.database.wall import acting_for

from gateway.api.posted_file import PostedFile
from gateway.api.problems import FilesNotSetUp, FileUrlRefused, ProblemType, TooManyFiles
from gateway.routing.table import Call

PROBLEMS: tuple[ProblemType, ...] = (
    FileNotFound,
    FileQuotaReached,
    FileTooLarge,
    FileTypeRefused,
    FileUrlRefused,
    FilesNotSetUp,
    FilesUnavailable,
    TooManyFiles,
)


async def attached(
    call: Call[Any, Any], posted: Sequence[PostedFile], session_id: str, message_id: str | None
) -> tuple[str, ...]:
    """The ids of the files, in their order. Raises PROBLEMS."""
    if not posted:
        return ()
    settings, caller = call.gateway.settings, call.caller
    if not call.gateway.objects.on:
        raise FilesNotSetUp
    if len(posted) > settings.max_files_per_message:
        raise TooManyFiles(max_files_per_message=settings.max_files_per_message)
    named = [file.id for file in posted if file.id is not None]
    contents = {place: file.content() for place, file in enumerate(posted) if file.id is None}
    if named and caller.anonymous_id is not None:
        with acting_for(None):
            await call.gateway.store.files.claim(named, caller.user_id, caller.anonymous_id)
    ids = []
    for place, file in enumerate(posted):
        content = contents.get(place, b"")
        key = None if message_id is None else (caller.user_id or "", session_id, message_id, str(place))
        ids.append(file.id or await _kept(call, file, content, key))
    return tuple(ids)


async def _kept(call: Call[Any, Any], file: PostedFile, content: bytes, key: tuple[str, ...] | None) -> str:
    """`key`: what says, with the content, that it is the same file again."""
    sent = Sent(
        file.name or "",
        file.declared,
        len(content),
        call.caller.user_id,
        file_id=None if key is None else _same_id(key, content),
    )
    return (await call.gateway.files.keep_bytes(sent, content)).id


def _same_id(key: tuple[str, ...], content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    together = "\0".join([*key, digest]).encode()
    return f"file_{hashlib.sha256(together).hexdigest()[:32]}"
