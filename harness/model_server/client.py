"""Drives a running model server from a test: scripts, gates, and the record of what was asked of it.

The process itself is started by `harness.processes.model_process` (the fixture `model` gives one that is fresh).
"""

import secrets
from collections.abc import Callable
from typing import Any, Self

import httpx

from harness.model_server.record import Record
from harness.waiting import wait_until


class ModelServer:
    """`async with ModelServer("http://127.0.0.1:8123") as model`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._own_path = f"/{secrets.token_hex(4)}/v1"
        # Certificates of the world would be loaded for each client: 40 ms, in nearly every test.
        self._http = httpx.AsyncClient(base_url=url, trust_env=False, verify=False, timeout=10)

    @property
    def base_url(self) -> str:
        """What a client of the OpenAI API is given. Its path is of this test alone: see `requests`."""
        return f"{self.url}{self._own_path}"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def script(
        self, *steps: dict[str, Any], match: str | None = None, times: int = 1, path: str = "/chat/completions"
    ) -> None:
        """Answer the next request(s), of those whose last user message has `match` in it, with these steps."""
        await self._post("script", {"steps": list(steps), "match": match, "times": times, "path": path})

    async def strict(self, *rules: str) -> None:
        """From now on refuse requests that break these rules (strictness.py), before any script is looked at."""
        await self._post("strict", {"rules": list(rules)})

    async def open_gate(self, name: str) -> None:
        """Let the requests go on that wait at this gate, now and later."""
        await self._post("open", {"gate": name})

    async def reset(self) -> None:
        """Forget scripts, gates, counts and records."""
        await self._post("reset", {})

    async def requests(self, match: str | None = None, *, lists: bool = False) -> list[Record]:
        """All requests for answers since the last reset, oldest first; with `match`: those whose body has this text.

        `lists`: those for the list of models, by `base_url` alone. Every worker that runs asks for it too, whenever
        it wants to know, and what one of an earlier test asked as it was killed may be read only now.
        """
        response = await self._http.get("/control/requests")
        records = [Record(**record) for record in response.raise_for_status().json()]
        asked = [record for record in records if record.path.endswith("/models") == lists]
        if lists:
            asked = [record for record in asked if record.path.startswith(self._own_path)]
        return [record for record in asked if match is None or match in str(record.body)]

    async def wait_for(self, condition: Callable[[Record], object], timeout: float = 20.0) -> Record:
        """The first request that is so, as soon as there is one: `wait_for(lambda seen: seen.client_closed_at)`."""

        async def first() -> Record | None:
            return next((record for record in await self.requests() if condition(record)), None)

        found = await wait_until(first, timeout, "a request to the model server that is as expected")
        assert found is not None
        return found

    async def _post(self, route: str, body: dict[str, Any]) -> None:
        (await self._http.post(f"/control/{route}", json=body)).raise_for_status()
