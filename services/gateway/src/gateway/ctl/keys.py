"""`sluicewayctl keys`: a key is printed once, when it is made, alone on stdout; the database has its digest."""

import argparse
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from gateway.callers.caller import SCOPES
from gateway.callers.tokens import is_org

if TYPE_CHECKING:
    from sluiceway.store import Store
    from sluiceway.store.people.api_keys import ApiKey

# It stands in owners' names and in log lines. `settings` is what the keys of the setting API_KEYS are called.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_TAKEN = "settings"


def add_to(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    create = verbs.add_parser("create", help="make a key, and print it")
    create.add_argument("name", type=_name, help="whose it is; each name is given once")
    create.add_argument("--scope", action="append", required=True, choices=SCOPES, help="what it may do; repeatable")
    create.add_argument("--days", type=_days, default=None, help="how long it is good; without it, until it is revoked")
    create.add_argument(
        "--org", type=_org, default=None, help="of one organisation, as tokens name it: it sees that alone"
    )
    create.set_defaults(action=_create)
    verbs.add_parser("list", help="all keys that ever were").set_defaults(action=_list)
    revoke = verbs.add_parser("revoke", help="refuse a key from now on; gateways hear of it within seconds")
    revoke.add_argument("name")
    revoke.set_defaults(action=_revoke)


async def _create(store: "Store", asked: argparse.Namespace) -> int:
    from gateway.callers.api_keys import new_key

    key, digest = new_key()
    lifetime = timedelta(days=asked.days) if asked.days is not None else None
    made = await store.api_keys.add(asked.name, digest, sorted(set(asked.scope)), lifetime, asked.org)
    if made is None:
        print(f"sluicewayctl: there is or was a key named {asked.name}", file=sys.stderr)
        return 1
    print(f"{made.name}: {_described(made)}. It is shown only now:", file=sys.stderr)
    print(key)
    return 0


async def _list(store: "Store", asked: argparse.Namespace) -> int:
    for key in await store.api_keys.all():
        print(f"{key.name}\t{_described(key)}\tcreated {key.created_at:%Y-%m-%d}")
    return 0


async def _revoke(store: "Store", asked: argparse.Namespace) -> int:
    if not await store.api_keys.revoke(asked.name):
        print(f"sluicewayctl: there is no key named {asked.name}", file=sys.stderr)
        return 1
    return 0


def _described(key: "ApiKey") -> str:
    if key.revoked_at is not None:
        state = f"revoked {key.revoked_at:%Y-%m-%d}"
    elif key.expires_at is None:
        state = "never expires"
    else:
        state = f"{'expires' if key.is_good(datetime.now(UTC)) else 'expired'} {key.expires_at:%Y-%m-%d}"
    org = f"\torg {key.org}" if key.org is not None else ""
    return f"{','.join(key.scopes)}\t{state}{org}"


def _name(text: str) -> str:
    if not _NAME.fullmatch(text) or text == _TAKEN:
        raise argparse.ArgumentTypeError("a name has 1 to 64 of a-z 0-9 . _ -, and begins with a letter or digit")
    return text


def _org(text: str) -> str:
    if not is_org(text):
        raise argparse.ArgumentTypeError("an organisation has 1 to 200 printable characters, percent-encoded")
    return text


def _days(text: str) -> float:
    days = float(text)
    if not 0 < days <= 3650:
        raise argparse.ArgumentTypeError("from more than 0 to 3650 days")
    return days
