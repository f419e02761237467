"""Postgres, the truth: sessions, messages, turns, dead letters. All SQL of the project stands in this package.

Guarantees: what a method answered is durable; every write of a worker is fenced by its attempt; every change of a
task's status is a compare-and-set. Methods raise StoreUnavailable when Postgres is away.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta

from sluiceway.process.settings import CommonSettings
from sluiceway.store.database.leadership import Leadership
from sluiceway.store.database.migrate import is_current, migrate
from sluiceway.store.database.pool import TIMEOUT, Pool, PoolState
from sluiceway.store.database.probe import check_writable
from sluiceway.store.database.suitability import problems
from sluiceway.store.operating.backlog import BacklogStore
from sluiceway.store.operating.dead_letters import DeadLetterStore
from sluiceway.store.operating.ops import OpsStore
from sluiceway.store.operating.retention import RetentionStore
from sluiceway.store.operating.rewinding import RewindStore
from sluiceway.store.operations.completions import CompletionStore
from sluiceway.store.operations.deadlines import DeadlineStore
from sluiceway.store.operations.elicitations import ElicitationStore
from sluiceway.store.operations.operations import OperationStore
from sluiceway.store.operations.parked import ParkedStore
from sluiceway.store.operations.polls import PollStore
from sluiceway.store.operations.webhooks import WebhookStore
from sluiceway.store.people.api_keys import ApiKeyStore
from sluiceway.store.people.people import PeopleStore
from sluiceway.store.people.understandings import UnderstandingStore
from sluiceway.store.people.usage import UsageStore
from sluiceway.store.sessions.conversations import ConversationStore
from sluiceway.store.sessions.erasing import ErasureStore
from sluiceway.store.sessions.feedback import FeedbackStore
from sluiceway.store.sessions.files import FileStore
from sluiceway.store.sessions.search import SearchStore
from sluiceway.store.sessions.sessions import SessionStore
from sluiceway.store.sessions.titles import TitleStore
from sluiceway.store.turns.branches import BranchStore
from sluiceway.store.turns.continuing import BackgroundStore
from sluiceway.store.turns.shares import ShareStore
from sluiceway.store.turns.stepping_back import SteppingBackStore
from sluiceway.store.turns.turns import TurnStore


class Store:
    """The database, by its parts."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.sessions = SessionStore(pool)
        self.branches = BranchStore(pool)
        self.shares = ShareStore(pool)
        self.feedback = FeedbackStore(pool)
        self.turns = TurnStore(pool)
        self.background = BackgroundStore(pool)
        self.stepping_back = SteppingBackStore(pool)
        self.conversations = ConversationStore(pool)
        self.operations = OperationStore(pool)
        self.polls = PollStore(pool)
        self.elicitations = ElicitationStore(pool)
        self.completions = CompletionStore(pool)
        self.parked = ParkedStore(pool)
        self.deadlines = DeadlineStore(pool)
        self.webhooks = WebhookStore(pool)
        self.dead_letters = DeadLetterStore(pool)
        self.backlog = BacklogStore(pool)
        self.api_keys = ApiKeyStore(pool)
        self.usage = UsageStore(pool)
        self.titles = TitleStore(pool)
        self.search = SearchStore(pool)
        self.understandings = UnderstandingStore(pool)
        self.rewinding = RewindStore(pool)
        self.erasures = ErasureStore(pool)
        self.retention = RetentionStore(pool)
        self.people = PeopleStore(pool)
        self.files = FileStore(pool)
        self.ops = OpsStore(pool)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        database_url: str,
        *,
        max_size: int,
        application_name: str,
        timeout: timedelta = TIMEOUT,
        direct_url: str | None = None,
        walled: bool = False,
    ) -> AsyncIterator["Store"]:
        """A store whose connections are made when they are needed: Postgres may come up later. See `Pool`."""
        pool = Pool(
            database_url,
            max_size=max_size,
            application_name=application_name,
            timeout=timeout,
            direct_url=direct_url,
            walled=walled,
        )
        try:
            yield cls(pool)
        finally:
            await pool.close()

    @classmethod
    def from_settings(
        cls, settings: CommonSettings, *, application_name: str, walled: bool = False
    ) -> AbstractAsyncContextManager["Store"]:
        """The store that a service is told to use."""
        return cls.open(
            settings.database_url,
            max_size=settings.database_pool_size,
            application_name=application_name,
            timeout=settings.database_timeout,
            direct_url=settings.database_direct_url,
            walled=walled,
        )

    @property
    def pool_state(self) -> PoolState:
        """Of its connections."""
        return self._pool.state

    async def migrate(self) -> list[str]:
        """Apply the migrations that are missing; answer their names."""
        return await migrate(self._pool)

    async def is_current(self) -> bool:
        """Whether Postgres answers and has the schema that this version needs."""
        return await is_current(self._pool)

    async def check_writable(self, seconds: float) -> None:
        """Whether a turn could be written now. Raises StoreUnavailable, in words: also where somebody holds a lock that
        a message would wait for, or where Postgres takes no writes."""
        await check_writable(self._pool, seconds)

    async def unsuitable(self) -> str | None:
        """The first thing that is wrong with this Postgres for us, in one sentence; None: nothing."""
        return next(iter((await self.problems()).values()), None)

    async def problems(self) -> dict[str, str]:
        """All that is wrong with it, a sentence each, by the names of `suitability.RULES`."""
        return await problems(self._pool)

    async def now(self) -> datetime:
        """Postgres's clock: what its rows say of times is compared with this, never with a machine's own clock."""
        async with self._pool.connection() as connection:
            moment: datetime = await connection.fetchval("SELECT clock_timestamp()")
        return moment

    def leadership(self, name: str) -> Leadership:
        return Leadership(self._pool, name)
