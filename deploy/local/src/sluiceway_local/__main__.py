"""`sluiceway-local`: settings → folder → supervisor. Exit code 0 after Ctrl-C, 1 with a sentence when it cannot run."""

import asyncio
import resource
import sys
from pathlib import Path

from sluiceway_local import data_dir, settings
from sluiceway_local.display import Display
from sluiceway_local.errors import CannotRun
from sluiceway_local.supervisor import Supervisor


def main() -> None:
    try:
        run()
    except CannotRun as sentence:
        sys.exit(f"sluiceway: {sentence}")
    except KeyboardInterrupt:
        sys.exit(0)
    except OSError as error:
        sys.exit(f"sluiceway: cannot go on: {data_dir.why(error)} ({error.filename or 'no file'})")


def run() -> None:
    told = settings.load()
    allow_many_connections()
    with data_dir.opened(told.data_dir, told.min_free_mb) as folder:
        asyncio.run(serve(told, folder))


async def serve(told: settings.Settings, folder: Path) -> None:
    await Supervisor(told, folder, Display()).run()


def allow_many_connections() -> None:
    """Children inherit the limit; a browser that follows a turn is a file descriptor of the gateway."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    main()
