"""The questions that reached the model: requests for completions, without the workers' probes for life."""

from collections.abc import Callable

from harness.model_server import ModelServer
from harness.model_server.record import Record
from harness.waiting import wait_until


async def questions(model: ModelServer, match: str | None = None) -> list[Record]:
    """Oldest first; with `match`: those in whose body, history included, this text is."""
    return [record for record in await model.requests(match) if record.path.endswith("/chat/completions")]


async def asked(model: ModelServer, condition: Callable[[Record], object] = lambda _: True) -> Record:
    """The first question of which the condition is true, as soon as there is one."""

    async def first() -> Record | None:
        return next((record for record in await questions(model) if condition(record)), None)

    found = await wait_until(first, what="a question to the model that is as expected")
    assert found is not None
    return found
