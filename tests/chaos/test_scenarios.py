"""Every scenario of `make chaos`, in its short form: few turns, short leases, one round of faults.

The system is started once, and every scenario leaves it whole: nothing here depends on what ran before.
"""

import asyncio
import random
from collections.abc import Iterator

import pytest

from chaos.forms import SHORT, SHORT_OVERRIDES
from chaos.report import account
from chaos.running import run
from chaos.scenarios import SCENARIOS
from chaos.stack import Stack
from harness.databases.postgres import Postgres
from tests.conftest import attach_logs, no_key_is_eternal

SEED = 4


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole system, on the Postgres of this test process."""
    postgres: Postgres = request.getfixturevalue("_postgres_server")
    postgres.start()
    database = postgres.create_database(migrated=True)
    rng = random.Random(SEED)
    stack = Stack(tmp_path_factory.mktemp("chaos"), postgres, postgres.url(database), SHORT_OVERRIDES, rng)
    stack.services.fork_server = request.getfixturevalue("fork_server")
    try:
        asyncio.run(stack.start())
        yield stack
        no_key_is_eternal(stack.redis_path.primary)
    finally:
        complaints = stack.stop()
        postgres.stop()  # it may have been started by the stack's thread, and would end with it
        stack.process_thread.let_go()
        postgres.start()
        postgres.drop_database(database)
    assert not complaints, "\n".join(complaints)


@pytest.mark.requirement("OP-7", "CH-11", "TS-5")
@pytest.mark.parametrize(
    "name",
    [
        "quiet",
        "kill-worker",
        "kill-worker-tools",
        pytest.param("kill-gateway", marks=pytest.mark.requirement("GW-1")),
        pytest.param("kill-runner", marks=pytest.mark.requirement("CH-9", "CC-7")),
        pytest.param("kill-consumer", marks=pytest.mark.requirement("CC-2", "CC-6")),
        pytest.param("zombies", marks=pytest.mark.requirement("TS-11")),
        pytest.param("zombie-runners", marks=pytest.mark.requirement("CC-6")),
        pytest.param("flush", marks=pytest.mark.requirement("TS-12")),
        pytest.param("redis-restart", marks=pytest.mark.requirement("CC-8")),
        pytest.param("redis-failover", marks=pytest.mark.requirement("CC-8")),
        pytest.param("connection-reset", marks=pytest.mark.requirement("CC-8")),
        pytest.param("postgres-restart", marks=pytest.mark.requirement("CC-8")),
        pytest.param("postgres-rewound", marks=pytest.mark.requirement("OP-11")),
        "kill-everything",
        pytest.param("deploy", marks=pytest.mark.requirement("GW-4", "CC-10")),
        pytest.param("browsers", marks=pytest.mark.requirement("TS-10")),
        pytest.param("poison-data", marks=pytest.mark.requirement("CH-24")),
        pytest.param("deaf-readers", marks=pytest.mark.requirement("TS-10", "SE-3")),
        pytest.param("held-back-bodies", marks=pytest.mark.requirement("SE-3")),
        pytest.param("hostile-tools", marks=pytest.mark.requirement("SE-4")),
        pytest.param("race", marks=pytest.mark.requirement("CH-2")),
        pytest.param("chat-on", marks=pytest.mark.requirement("CH-19")),
        "mixture",
    ],
)
async def test_nothing_is_lost_doubled_left_out_repeated_or_ended_too_early(
    request: pytest.FixtureRequest, stack: Stack, name: str
) -> None:
    attach_logs(request.node, stack.services)
    outcome = await run(stack, SCENARIOS[name], SEED, SHORT)
    assert outcome.clean, account(outcome)
    # What was accepted in the time that Postgres lost is nobody's promise.
    asked = SHORT.turns if name != "postgres-rewound" else 1
    assert outcome.answered == outcome.accepted >= asked
