"""Whether the object store answers: looked at now and then, and told in one sentence, first when a process begins."""

import asyncio

from sluiceway.files.objects import FileObjects
from sluiceway.process.logs import get_logger

_PERIOD_SECONDS = 30.0


class FilesWatch:
    """`problem`: what was wrong when it was last looked at, for an operator; None: nothing, or no files are taken."""

    def __init__(self, objects: FileObjects) -> None:
        self._objects = objects
        self.problem: str | None = None

    async def run(self) -> None:
        """Look until cancelled. A change is one log line."""
        while self._objects.on:
            found = await self._objects.problem()
            if found != self.problem:
                get_logger().warning("files_store_changed", problem=found)
            self.problem = found
            await asyncio.sleep(_PERIOD_SECONDS)
