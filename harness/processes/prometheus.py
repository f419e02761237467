"""A real Prometheus that scrapes service processes, where one is installed (Debian: apt-get install prometheus)."""

import asyncio
import json
import math
import shutil
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import quote, urlsplit
from urllib.request import urlopen

import yaml

from harness.processes.child import Child
from harness.processes.ports import free_port
from harness.processes.services import Service
from harness.waiting import block_until

PROGRAM = shutil.which("prometheus")
SCRAPE = "500ms"


class Prometheus:
    """It looks twice a second at `services`, each a target of the job of its name, and evaluates `rules` as often."""

    def __init__(self, directory: Path, services: Iterable[Service], rules: Path | None = None) -> None:
        assert PROGRAM is not None
        jobs: dict[str, list[str]] = {}
        for service in services:
            jobs.setdefault(service.name.rsplit("-", 1)[0], []).append(urlsplit(service.url).netloc)
        told = {
            "global": {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE, "evaluation_interval": SCRAPE},
            "rule_files": [str(rules)] if rules is not None else [],
            "scrape_configs": [{"job_name": job, "static_configs": [{"targets": jobs[job]}]} for job in jobs],
        }
        configuration = directory / "prometheus.yaml"
        configuration.write_text(yaml.safe_dump(told))
        self._url = f"http://127.0.0.1:{(port := free_port())}"
        listen = f"--web.listen-address=127.0.0.1:{port}"
        command = [PROGRAM, f"--config.file={configuration}", f"--storage.tsdb.path={directory / 'tsdb'}", listen]
        self._child = Child("prometheus", command, directory / "prometheus.log")
        self._since = time.monotonic()

    def start(self) -> None:
        self._child.start()
        block_until(self._answers, what="Prometheus is ready")

    def stop(self) -> None:
        self._child.end(signal.SIGTERM)

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query, without those that are no number. Raises where it cannot be read."""
        answer = await asyncio.to_thread(self._get, f"/api/v1/query?query={quote(expression)}")
        return [one for one in json.loads(answer)["data"]["result"] if not math.isnan(float(one["value"][1]))]

    def forget(self) -> None:
        """What has fired until now: before the first look at a service, all that are there are missing."""
        self._since = time.monotonic()

    async def fired(self) -> set[str]:
        """The names of the alerts that fire, or have."""
        seconds = max(1, int(time.monotonic() - self._since))
        seen = await self.query(f'count_over_time(ALERTS{{alertstate="firing"}}[{seconds}s])')
        return {one["metric"]["alertname"] for one in seen}

    def _answers(self) -> bool:
        assert self._child.alive, f"Prometheus did not start:\n{self._child.output}"
        try:
            return bool(self._get("/-/ready"))
        except URLError:
            return False

    def _get(self, path: str) -> bytes:
        with urlopen(self._url + path, timeout=10) as answer:
            return bytes(answer.read())
