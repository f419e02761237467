"""A process that is told to end does end: what keeps it longer than its limit is named in the log, and left behind.

Each wait on the way to the end has a limit of its own. What has none is the end of the event loop and of the
interpreter: these wait for every task and every thread, also for those of a tool or a library that never end.
Not guaranteed: anything while C code keeps the interpreter's lock.
"""

import asyncio
import gc
import os
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from sluiceway.process.logs import get_logger

# After the drain: handlers clean up, entries are released, what runs beside them ends, clients are closed. Each may
# wait for a Redis or a Postgres that says nothing. Grace periods of deployments are longer than the drain and this.
AFTER_DRAIN_SECONDS = 14.0
_TELL_SECONDS = 1.0
_MOST_NAMES = 20
# Of coroutines, generators and asynchronous generators: their frame, and what they await.
_KINDS = (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await"))


def end_within(seconds: float, code: int = 1) -> None:
    """Exit with that code where the process has not ended by then. To be called in its event loop."""
    arguments = (asyncio.get_running_loop(), seconds, code)
    threading.Thread(target=_end, args=arguments, name="end-limit", daemon=True).start()


def _end(loop: asyncio.AbstractEventLoop, seconds: float, code: int) -> None:
    time.sleep(seconds)
    # Beside this thread: a log that nobody reads would hold it up, too.
    telling = threading.Thread(target=_tell, args=(loop, seconds, code), name="end-limit-log", daemon=True)
    telling.start()
    telling.join(_TELL_SECONDS)
    os._exit(code)


def _tell(loop: asyncio.AbstractEventLoop, seconds: float, code: int) -> None:
    tasks = sorted(f"{task.get_name()} ({_where(task)})" for task in asyncio.all_tasks(loop))
    threads = sorted(thread.name for thread in threading.enumerate() if not thread.daemon)
    log = get_logger().error if code else get_logger().warning
    log("end_forced", seconds=seconds, tasks=tasks[:_MOST_NAMES], threads=threads[:_MOST_NAMES])
    sys.stdout.flush()
    sys.stderr.flush()


def _where(task: "asyncio.Task[Any]") -> str:
    """File and line where it waits."""
    frames = list(frames_of(task))
    return f"{os.path.basename(frames[-1].f_code.co_filename)}:{frames[-1].f_lineno}" if frames else "ending"


def frames_of(task: "asyncio.Task[Any]") -> Iterator[FrameType]:
    """Where it, and all that it awaits, stand; outermost first."""
    waiting: Any = task.get_coro()
    while waiting is not None:
        for frame, awaited in _KINDS:
            if (found := getattr(waiting, frame, None)) is not None:
                yield found
                waiting = getattr(waiting, awaited)
                break
        else:
            # What drives a generator does not say which.
            waiting = next((one for one in gc.get_referents(waiting) if getattr(one, "ag_frame", None)), None)
