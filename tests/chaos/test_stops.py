"""Services that are told to end while nothing that they wait for answers: each ends, within its drain and a bound."""

import asyncio
import signal
from contextlib import ExitStack

import pytest
from sluiceway.process.end_limit import AFTER_DRAIN_SECONDS

from harness.clients.chat import Chat
from harness.databases.postgres import Postgres
from harness.databases.valkey import Valkey
from harness.model_server import ModelServer
from harness.processes.services import Services

_DRAIN_SECONDS = 2


@pytest.mark.requirement("CC-10", "GW-4")
@pytest.mark.parametrize("silent", ["postgres", "both"])
async def test_sigterm_ends_every_service_while_what_it_stands_on_is_silent(
    services: Services, valkey: Valkey, postgres: Postgres, model: ModelServer, silent: str
) -> None:
    system = await services.whole(tool_runners=1)
    async with Chat(system.url) as chat:
        await model.script({"text": "half an "}, {"stall": "ever"})
        turns = [await chat.ask(f"question {number} [[tokens=2000 rate=20]]") for number in range(3)]
        await model.wait_for(lambda request: "question" in str(request.body))
        with ExitStack() as frozen:
            for name, part in (("redis", valkey), ("postgres", postgres)):
                if silent in (name, "both"):
                    part.freeze()
                    frozen.callback(part.thaw)
            for service in services.all:
                service.send(signal.SIGTERM)
            limit = _DRAIN_SECONDS + AFTER_DRAIN_SECONDS + 2
            codes = await asyncio.gather(*(service.exited(timeout=limit) for service in services.all))
    assert len(turns) == 3
    assert codes == [0] * 4, "none had to be forced"
