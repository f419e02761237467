"""What all services count, read after turns that were really run; and docs/metrics.md, held against it both ways."""

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from harness.clients.calling import call, calls_tools, offered
from harness.clients.chat import Chat
from harness.databases.database import Database
from harness.model_server import ModelServer
from harness.processes.services import Service, Services, System
from harness.waiting import wait_until

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
SECRET = "sassafras-octagon"


@dataclass(frozen=True)
class Seen:
    """All samples of some processes, added up."""

    samples: tuple[Sample, ...]

    def sum(self, name: str, **labels: str) -> float:
        """Of those that have these labels, whatever others they have."""
        return sum(one.value for one in self.samples if one.name == name and labels.items() <= one.labels.items())


def _read(url: str) -> list[Sample]:
    with urlopen(f"{url}/metrics", timeout=5) as answer:
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        text = answer.read().decode()
    assert SECRET not in text
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def _names(url: str) -> set[str]:
    """Also of those that have no sample yet, as nothing of their kind has happened."""
    with urlopen(f"{url}/metrics", timeout=5) as answer:
        names = re.findall(r"^# TYPE (sluiceway_\w+) \w+$", answer.read().decode(), re.MULTILINE)
    return {name for name in names if not name.endswith("_created")}


async def _seen(*services: Service) -> Seen:
    return Seen(tuple([one for service in services for one in await asyncio.to_thread(_read, service.url)]))


def _all(system: System) -> Iterable[Service]:
    return (*system.gateways, *system.workers, *system.consumers, *system.tool_runners)


async def _turns(system: System, model: ModelServer) -> None:
    """With a tool, with a model that is away and one that refuses, cancelled while it runs and while it waits."""
    await offered(system.url, "current_time")
    await calls_tools(model, "the time", call("current_time", "call_1"))
    async with Chat(system.url) as chat:
        await chat.answer(await chat.ask(f"{SECRET}: the time"))
        await chat.answer(await chat.ask(f"{SECRET} [[status=401]]"))
        await chat.answer(await chat.ask(f"{SECRET} [[tokens=3 rate=0 status=503 times=1]]"))
        first = await chat.ask(f"{SECRET} [[tokens=1000 rate=20]]")
        behind = await chat.send(first.session_id, "behind it")
        await chat.cancel(behind.task_id)
        await chat.cancel(first.task_id)
        await chat.answer(first)
        await chat.post(f"/api/chat/operations/{SECRET}/complete", {"success": True})


EXPECTED: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "gateway": {
        "sluiceway_turns_accepted_total": {},
        "sluiceway_webhooks_total": {"kind": "complete", "answer": "UNAUTHENTICATED"},
        "sluiceway_streams_joined_total": {},
        "sluiceway_stream_events_sent_total": {},
        "sluiceway_stream_bytes_sent_total": {},
        "sluiceway_queues_seen": {},
        "sluiceway_chat_workers_ready": {},
        "sluiceway_queue_consumers": {"queue": "chat"},
    },
    "chat-worker": {
        "sluiceway_turn_queued_seconds_count": {},
        "sluiceway_turn_first_token_seconds_count": {},
        "sluiceway_model_first_token_seconds_count": {},
        "sluiceway_model_token_seconds_count": {},
        "sluiceway_model_tokens_total": {"kind": "output", "purpose": "answer"},
        "sluiceway_model_errors_total": {"code": "MODEL_KEY_REJECTED"},
        "sluiceway_model_retries_total": {"code": "MODEL_UNAVAILABLE"},
        "sluiceway_stream_flushes_total": {},
        "sluiceway_worker_slots": {"queue": "chat"},
        "sluiceway_worker_entries_total": {"queue": "chat", "event": "handled"},
    },
    "tool-runner": {
        "sluiceway_operation_runs_total": {"tool": "current_time", "status": "succeeded"},
        "sluiceway_operation_queued_seconds_count": {},
        "sluiceway_operation_run_seconds_count": {"tool": "current_time"},
        "sluiceway_worker_entries_total": {"event": "handled"},
    },
    "completion-consumer": {
        "sluiceway_completions_total": {"outcome": "applied"},
        "sluiceway_worker_entries_total": {"queue": "completions", "event": "handled"},
        "sluiceway_reconciler_leader": {},
    },
}


@pytest.mark.requirement("OP-3", "OP-5")
async def test_every_service_counts_what_it_did_to_real_turns_and_the_page_tells_every_name(
    services: Services, model: ModelServer, database: Database
) -> None:
    system = await services.whole(tool_runners=1)
    await _turns(system, model)

    for service in _all(system):
        component = service.name.rsplit("-", 1)[0]
        for name, labels in EXPECTED[component].items():
            what = f"{service.name} has counted {name} {dict(labels)}"
            await wait_until(lambda: _counted(service, name, labels), what=what)  # noqa: B023
        seen = await _seen(service)
        assert seen.sum("sluiceway_build_info", component=component) == 1
        for name in ("sluiceway_event_loop_lag_seconds_count", "sluiceway_postgres_acquisitions_total"):
            assert seen.sum(name) > 0, (component, name)

    await wait_until(lambda: _ends(system, database), what="each turn is counted once, by whoever ended it")
    worker = await _seen(system.worker)
    assert worker.sum("sluiceway_worker_in_flight") == 0
    assert worker.sum("sluiceway_model_calls") == 0
    seen = await _seen(*_all(system))
    assert seen.sum("sluiceway_turns_accepted_total") == await database.fetchval("SELECT count(*) FROM tasks")

    shown = {name for service in _all(system) for name in await asyncio.to_thread(_names, service.url)}
    told = set(re.findall(r"^\| `(sluiceway_\w+)", PAGE.read_text(), re.MULTILINE))
    assert told == shown


async def _counted(service: Service, name: str, labels: Mapping[str, str]) -> bool:
    return (await _seen(service)).sum(name, **labels) >= 1


async def _ends(system: System, database: Database) -> bool:
    seen = await _seen(*_all(system))
    rows = await database.fetch("SELECT status, count(*) AS number FROM tasks GROUP BY status")
    ends = {row["status"]: row["number"] for row in rows}
    assert ends.keys() == {"completed", "failed", "cancelled"}
    assert ends["cancelled"] == 2
    return all(
        seen.sum(name, status=status) == number
        for name in ("sluiceway_turns_ended_total", "sluiceway_turn_seconds_count")
        for status, number in ends.items()
    )
