"""The chat worker as it is, with its round trips to Redis counted: `python -m bench.worker.counted_worker FILE`.

Every command and every pipeline of redis-py leaves through one method of its connections, once per round trip. The
count stands in FILE as eight bytes, native order, for whoever maps it.
"""

import mmap
import sys
from pathlib import Path
from typing import Any

from chat_worker.__main__ import main
from redis.asyncio.connection import AbstractConnection

BYTES = 8


def count_round_trips(file: Path) -> None:
    with file.open("r+b") as opened:
        counter = memoryview(mmap.mmap(opened.fileno(), BYTES)).cast("Q")
    send = AbstractConnection.send_packed_command

    async def counted(self: AbstractConnection, *arguments: Any, **options: Any) -> None:
        counter[0] += 1
        await send(self, *arguments, **options)

    AbstractConnection.send_packed_command = counted  # type: ignore[method-assign]


if __name__ == "__main__":
    count_round_trips(Path(sys.argv.pop(1)))
    main()
