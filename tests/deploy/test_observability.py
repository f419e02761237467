"""Alert rules and dashboard ask for metrics and labels that there are. docs/metrics.md is held against the services by
tests/e2e/operating/test_metrics.py."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from tests.deploy import manifests

FOLDER = manifests.ROOT / "deploy" / "observability"
_ROW = re.compile(r"^\| `(sluiceway_\w+)(?:\{([\w,]+)\})?` \| (counter|gauge|histogram) \|", re.MULTILINE)
# Labels that Prometheus adds.
_ADDED = {"le", "job", "instance"}


def _known() -> Mapping[str, set[str]]:
    """The series of every metric of the page, with their labels."""
    found: dict[str, set[str]] = {}
    for name, labels, kind in _ROW.findall((manifests.ROOT / "docs" / "metrics.md").read_text()):
        series = [f"{name}_{part}" for part in ("bucket", "count", "sum")] if kind == "histogram" else [name]
        found |= {one: set(filter(None, labels.split(","))) for one in series}
    return found


def _alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _expressions() -> Iterator[tuple[str, str]]:
    for rule in _alerts():
        yield rule["alert"], rule["expr"]
    for panel in json.loads((FOLDER / "dashboard.json").read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


@pytest.mark.requirement("OP-5")
def test_every_metric_and_label_that_is_asked_for_exists() -> None:
    known = _known()
    for where, expression in _expressions():
        names = set(re.findall(r"sluiceway_\w+", expression))
        assert names, where
        assert names <= known.keys(), where
        labels = _ADDED.union(*(known[name] for name in names))
        grouped = {label for by in re.findall(r"by \(([\w, ]+)\)", expression) for label in by.split(", ")}
        chosen = set(re.findall(r"[{,]\s*(\w+)=~?\"", expression))
        assert grouped | chosen <= labels, (where, grouped | chosen)


@pytest.mark.requirement("OP-5")
def test_every_alert_says_what_is_wrong_how_bad_it_is_and_what_to_ask_first() -> None:
    operating = (manifests.ROOT / "docs" / "operating.md").read_text()
    names = [rule["alert"] for rule in _alerts()]
    assert len(names) == len(set(names)) >= 10
    for rule in _alerts():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"].endswith(".")
        program, command, *_ = rule["annotations"]["first"].split()
        assert program == "sluicewayctl"
        assert re.search(rf"`(sluicewayctl )?{command}\b", operating), command
        for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
            assert label in rule["expr"]


@pytest.mark.requirement("OP-5")
def test_the_dashboard_shows_every_part_and_its_panels_do_not_lie_on_each_other() -> None:
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(places) == len(set(places))
    shown = {
        name for panel in panels for one in panel["targets"] for name in re.findall(r"sluiceway_([a-z]+)_", one["expr"])
    }
    assert shown >= {"turns", "turn", "model", "queue", "worker", "streams", "webhooks", "operation", "reconciler"}
