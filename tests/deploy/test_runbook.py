"""Each alert has its page, what a page names exists, and each rule fires when what it is for is so: by Prometheus's own
promtool, where that is there."""

import argparse
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from gateway.ctl.__main__ import _parser

from tests.deploy import manifests

_ALERTS = manifests.ROOT / "deploy" / "observability" / "alerts.yaml"
_PAGES = manifests.ROOT / "docs" / "runbook"
_CODE = ("shared/src", "llm/src", "services")
_PROMTOOL = shutil.which("promtool")
_HEADS = ["What it means", "What to look at", "What to do"]
_PLACES = {"TASK": "t", "WORKER": "w", "QUEUE": "chat", "N": "1", "NAME": "x", "job.json": "-"}
_RULES: list[dict[str, Any]] = yaml.safe_load(_ALERTS.read_text())["groups"][0]["rules"]
# What is so with a healthy system, in promtool's notation: a sample a minute.
_HEALTHY = {
    "sluiceway_chat_workers_ready": "2x60",
    "sluiceway_reconciler_leader": "1x60",
    "sluiceway_queues_seen": "1x60",
    'sluiceway_queue_oldest_waiting_seconds{queue="chat"}': "1x60",
    'sluiceway_queue_oldest_waiting_seconds{queue="tools.default"}': "1x60",
    'sluiceway_queue_oldest_waiting_seconds{queue="completions"}': "0x60",
    'sluiceway_queue_dead_letters{queue="chat"}': "3x60",
    'sluiceway_turns_ended_total{status="failed"}': "0+1x60",
    'sluiceway_turns_ended_total{status="completed"}': "0+60x60",
    'sluiceway_model_retries_total{code="MODEL_UNAVAILABLE",model="m"}': "0+1x60",
    'sluiceway_model_first_token_seconds_bucket{le="10",model="m"}': "0+60x60",
    'sluiceway_model_first_token_seconds_bucket{le="30",model="m"}': "0+60x60",
    'sluiceway_model_first_token_seconds_bucket{le="+Inf",model="m"}': "0+60x60",
    'sluiceway_http_unavailable_total{code="REDIS_UNAVAILABLE"}': "0x60",
    "sluiceway_streams_broken_total": "0+1x60",
    "sluiceway_streams_joined_total": "0+60x60",
    'sluiceway_worker_entries_total{event="taken_over",queue="chat"}': "0x60",
    'sluiceway_event_loop_lag_seconds_bucket{le="0.1",job="gateway",instance="a"}': "0+60x60",
    'sluiceway_event_loop_lag_seconds_bucket{le="1",job="gateway",instance="a"}': "0+60x60",
    'sluiceway_event_loop_lag_seconds_bucket{le="+Inf",job="gateway",instance="a"}': "0+60x60",
    'sluiceway_postgres_wait_seconds_total{job="gateway"}': "0+1x60",
    'sluiceway_postgres_acquisitions_total{job="gateway"}': "0+600x60",
    'sluiceway_reconciler_errors_total{kind="turns"}': "0x60",
    'sluiceway_reconciler_repaired_total{kind="store_went_back"}': "0x60",
    'sluiceway_reconciler_repaired_total{kind="operation_unclaimed"}': "0x60",
}
# What is so instead, under each alert's fault.
_FAULTS = {
    "NoChatWorker": {"sluiceway_chat_workers_ready": "2x30 0x30"},
    "NoReconciler": {"sluiceway_reconciler_leader": "1x30 stale"},
    "QueuesNotSeen": {"sluiceway_queues_seen": "1x30 0x30"},
    "TurnsWaitForWorkers": {'sluiceway_queue_oldest_waiting_seconds{queue="chat"}': "1x30 40+60x30"},
    "OperationsWaitForRunners": {'sluiceway_queue_oldest_waiting_seconds{queue="tools.default"}': "1x30 130+60x30"},
    "NoToolRunner": {'sluiceway_reconciler_repaired_total{kind="operation_unclaimed"}': "0x48 1x12"},
    "CompletionsWait": {'sluiceway_queue_oldest_waiting_seconds{queue="completions"}': "0x30 40+60x30"},
    "DeadLetters": {'sluiceway_queue_dead_letters{queue="chat"}': "3x48 4x12"},
    "TurnsFail": {'sluiceway_turns_ended_total{status="failed"}': "0+20x60"},
    "ModelAway": {'sluiceway_model_retries_total{code="MODEL_UNAVAILABLE",model="m"}': "0+30x60"},
    "ModelSlow": {'sluiceway_model_first_token_seconds_bucket{le="10",model="m"}': "0+30x60"},
    "GatewayRefuses": {'sluiceway_http_unavailable_total{code="REDIS_UNAVAILABLE"}': "0+12x60"},
    "StreamsBroken": {"sluiceway_streams_broken_total": "0+20x60"},
    "WorkersDie": {'sluiceway_worker_entries_total{event="taken_over",queue="chat"}': "0+2x60"},
    "EventLoopBlocked": {'sluiceway_event_loop_lag_seconds_bucket{le="0.1",job="gateway",instance="a"}': "0+30x60"},
    "WaitingForPostgres": {'sluiceway_postgres_wait_seconds_total{job="gateway"}': "0+90x60"},
    "RepairsFail": {'sluiceway_reconciler_errors_total{kind="turns"}': "0x48 1x12"},
    "StoreWentBack": {'sluiceway_reconciler_repaired_total{kind="store_went_back"}': "0x52 1x8"},
}


def _sources() -> str:
    """All that a page may name: codes, settings, log lines, metrics."""
    files = [path for folder in _CODE for path in (manifests.ROOT / folder).rglob("*.py")]
    texts = [path.read_text() for path in files]
    settings = [text.upper() for text in texts if "Settings" in text]
    return "\n".join([*texts, *settings, (manifests.ROOT / "docs" / "metrics.md").read_text()])


def _commands(page: str) -> list[list[str]]:
    found = re.findall(r"`sluicewayctl ([^`]+)`", page)
    return [[_PLACES.get(word, word) for word in command.split()] for command in found]


@pytest.mark.requirement("OP-5", "OP-6")
def test_each_alert_has_a_page_with_what_it_means_what_to_look_at_and_what_to_do() -> None:
    named = {rule["alert"]: rule["annotations"]["runbook"] for rule in _RULES}
    pages = {path for path in _PAGES.glob("*.md") if path.name != "README.md"}
    assert {manifests.ROOT / page for page in named.values()} == pages
    index = (_PAGES / "README.md").read_text()
    for rule in _RULES:
        page = manifests.ROOT / named[rule["alert"]]
        text = page.read_text()
        assert text.startswith(f"# {rule['alert']}\n")
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == _HEADS, page
        assert rule["annotations"]["first"] in text or "log" in text, page
        assert f"]({page.name})" in index


@pytest.mark.requirement("OP-6")
@pytest.mark.parametrize("page", [*sorted(_PAGES.glob("*.md")), manifests.ROOT / "docs" / "operating.md"], ids=str)
def test_the_commands_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text()
    for command in _commands(text):
        try:
            parsed: argparse.Namespace = _parser().parse_args(command)
        except SystemExit:
            raise AssertionError(f"{page.name}: no such command: {' '.join(command)}") from None
        assert "ask" in parsed or "action" in parsed


@pytest.mark.requirement("OP-5")
def test_the_codes_settings_and_log_lines_that_the_pages_name_exist() -> None:
    sources = _sources()
    for page in _PAGES.glob("*.md"):
        named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+|[a-z]+(?:_[a-z]+)+)`", page.read_text()))
        known = {name for name in named if name in sources or name.removesuffix("_total") in sources}
        outside = {"max_connections", "pg_stat_activity", "pg_terminate_backend"}
        assert named - known <= outside, (page.name, named - known - outside)


@pytest.mark.requirement("OP-5")
@pytest.mark.skipif(_PROMTOOL is None, reason="no promtool here to fire the alerts (Debian: prometheus)")
def test_each_alert_fires_under_its_fault_and_none_in_health(tmp_path: Path) -> None:
    assert {rule["alert"] for rule in _RULES} == _FAULTS.keys()
    tests = [_test(_HEALTHY, "count(ALERTS{alertstate='firing'})", [])]
    for alert, fault in _FAULTS.items():
        fires = [{"labels": "{}", "value": 1}]
        tests.append(_test({**_HEALTHY, **fault}, f"count(ALERTS{{alertname='{alert}',alertstate='firing'}})", fires))
    file = tmp_path / "fires.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(_ALERTS)], "evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run([str(_PROMTOOL), "test", "rules", str(file)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def _test(series: dict[str, str], expression: str, samples: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": expression, "eval_time": "58m", "exp_samples": samples}],
    }
