"""The command line. `sluicewayctl keys …` needs DATABASE_URL, and a schema that is current; everything else asks a
gateway: SLUICEWAY_URL and SLUICEWAY_KEY, see client.py. `doctor` ends with 1 where something is not fit.

What talks to Postgres is imported by `keys` alone: it takes two seconds of a processor, and who is called at night asks
ten commands, of a machine that is busy.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from sluiceway.errors import SluicewayError

from gateway.ctl import keys, ops

if TYPE_CHECKING:
    from sluiceway.store import Store

Action = Callable[["Store", argparse.Namespace], Awaitable[int]]


def main(arguments: Sequence[str] | None = None) -> None:
    asked = _parser().parse_args(arguments)
    try:
        sys.exit(asked.ask(asked) if "ask" in asked else asyncio.run(_run(asked.action, asked)))
    except BrokenPipeError:
        # Whoever read it has read enough, as `head` does. Nothing is to be flushed any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except SluicewayError as error:
        sys.exit(f"sluicewayctl: {error}")


async def _run(action: Action, asked: argparse.Namespace) -> int:
    from sluiceway.process.settings import CommonSettings
    from sluiceway.process.starting import valid_settings
    from sluiceway.store import Store

    settings = valid_settings("sluicewayctl", CommonSettings)
    async with Store.from_settings(settings, application_name="ctl") as store:
        return await action(store, asked)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sluicewayctl", description="What an operator asks and does by hand.")
    nouns = parser.add_subparsers(required=True, metavar="COMMAND")
    keys.add_to(nouns.add_parser("keys", help="API keys of programs"))
    ops.add_to(nouns)
    return parser


if __name__ == "__main__":
    main()
