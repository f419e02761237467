"""The command line: `sluicewayctl keys create|list|revoke`. It needs DATABASE_URL, and a schema that is current."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence

from sluiceway.errors import SluicewayError
from sluiceway.process.settings import CommonSettings
from sluiceway.store import Store

from gateway.ctl import keys

Action = Callable[[Store, argparse.Namespace], Awaitable[int]]


def main(arguments: Sequence[str] | None = None) -> None:
    asked = _parser().parse_args(arguments)
    try:
        sys.exit(asyncio.run(_run(asked.action, asked)))
    except SluicewayError as error:
        sys.exit(f"sluicewayctl: {error}")


async def _run(action: Action, asked: argparse.Namespace) -> int:
    async with Store.from_settings(CommonSettings(), application_name="ctl") as store:
        return await action(store, asked)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sluicewayctl", description="What an operator does by hand.")
    nouns = parser.add_subparsers(required=True, metavar="NOUN")
    keys.add_to(nouns.add_parser("keys", help="API keys of programs"))
    return parser


if __name__ == "__main__":
    main()
