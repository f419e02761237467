"""The gateway's routes for operators, asked over HTTP: SLUICEWAY_URL says where, SLUICEWAY_KEY is an API key with the
scopes `ops:look` and `ops:act`."""

import os
from collections.abc import Mapping
from typing import Any

import httpx
from sluiceway.errors import SluicewayError

from gateway.callers.caller import KEY_HEADER

_URL = "http://127.0.0.1:8000"
_SECONDS = 30.0


class Refused(SluicewayError):
    """What the gateway answered instead, in a sentence."""


class OpsClient:
    """Used as `with OpsClient.from_environment() as ops`."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._http = httpx.Client(base_url=f"{url}/api/ops", headers={KEY_HEADER: key}, timeout=_SECONDS)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "OpsClient":
        """Raises Refused."""
        key = environment.get("SLUICEWAY_KEY", "")
        if not key:
            raise Refused("SLUICEWAY_KEY is not set; `sluicewayctl keys create NAME --scope ops:look` makes a key")
        return cls(environment.get("SLUICEWAY_URL", _URL).rstrip("/"), key)

    def __enter__(self) -> "OpsClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        return self._ask("GET", path, query)

    def readiness(self) -> dict[str, Any]:
        """What the gateway's own probe says, which asks nobody for a key. Raises Refused."""
        try:
            answer: dict[str, Any] = self._http.get(f"{self._url}/readyz").json()
        except (httpx.HTTPError, ValueError) as error:
            raise Refused(f"{self._url}/readyz does not answer: {error or type(error).__name__}") from None
        return answer

    def post(self, path: str) -> dict[str, Any]:
        return self._ask("POST", path, {})

    def put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._ask("PUT", path, {}, body)

    def delete(self, path: str, **query: Any) -> dict[str, Any]:
        return self._ask("DELETE", path, query)

    def _ask(
        self, method: str, path: str, query: Mapping[str, Any], body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Raises Refused."""
        known = {name: value for name, value in query.items() if value is not None}
        try:
            response = self._http.request(method, path, params=known, json=body)
            answer: dict[str, Any] = response.json()
        except httpx.HTTPError as error:
            raise Refused(f"{self._url} does not answer: {error or type(error).__name__}") from None
        except ValueError:
            raise Refused(f"{self._url} answered {response.status_code}, and no JSON: is it a gateway?") from None
        if response.is_error:
            more = "; `sluicewayctl doctor` says more" if response.status_code == 503 else ""
            raise Refused(f"{answer.get('detail', 'refused')} ({answer.get('code', response.status_code)}){more}")
        return answer
