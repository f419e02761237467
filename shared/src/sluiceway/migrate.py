"""`python -m sluiceway.migrate`: apply the migrations, and say which.

To DATABASE_URL, or to DATABASE_DIRECT_URL where that is set.

Exit code 0: the schema is current; 1: Postgres is away, or an applied migration was changed; 2: no DATABASE_URL.
"""

import asyncio
import os
import sys

from sluiceway.errors import StoreUnavailable
from sluiceway.store import Store
from sluiceway.store.database.migrate import MigrationChanged


async def migrate(database_url: str, direct_url: str | None = None) -> int:
    async with Store.open(database_url, direct_url=direct_url, max_size=1, application_name="migrate") as store:
        try:
            for name in await store.migrate():
                print(f"applied {name}")
        except (StoreUnavailable, MigrationChanged) as error:
            print(error, file=sys.stderr)
            return 1
    return 0


def main() -> int:
    url = os.environ.get("DATABASE_URL")
    if not url:
        print("DATABASE_URL is not set", file=sys.stderr)
        return 2
    return asyncio.run(migrate(url, os.environ.get("DATABASE_DIRECT_URL")))


if __name__ == "__main__":
    sys.exit(main())
