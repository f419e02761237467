"""A new service is a handful of edits, CONTRIBUTING says which, and whoever forgets one is told by name."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.deploy import manifests

MOST_EDITS = 8
# What is made, tells of what was, or names services in order to try and measure them.
# Overlays are examples of a deployment; that they leave no image without a version is held by test_overlays, and that
# Prometheus finds every service of the compose file by test_compose.
_NO_EDIT = (
    "deploy/observability/",
    "deploy/k8s/overlays/",
    "requirements/",
    "docs/",
    "tests/",
    "harness/",
    "chaos/",
    "bench/",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
)


def steps() -> list[str]:
    """The file or folder of each step, with `my-service` where a service has its name."""
    page = (manifests.ROOT / "CONTRIBUTING.md").read_text()
    section = page.partition("## Add a service\n")[2].partition("\n## ")[0]
    return re.findall(r"^\d+\. `([^`]+)`", section, re.MULTILINE)


def test_a_service_is_few_edits() -> None:
    assert 0 < len(steps()) <= MOST_EDITS


@pytest.mark.parametrize("step", steps())
@pytest.mark.parametrize("service", manifests.SERVICES)
def test_every_service_is_named_where_the_steps_say(service: str, step: str) -> None:
    place = manifests.ROOT / step.replace("my-service", service)
    if place.is_dir():
        assert f"sluiceway-{service}" in manifests.project(place)["scripts"]
    else:
        assert re.search(_whole_name(service), place.read_text())


def test_no_other_file_names_all_services() -> None:
    """It would be one more place that a new one has to be added to."""
    listed = {manifests.ROOT / step for step in steps()}
    naming_all = {
        path for path in _tracked() if all(re.search(_whole_name(s), _text(path)) for s in manifests.SERVICES)
    }
    assert naming_all <= listed


def test_the_import_contracts_hold_every_service() -> None:
    """A package that is no root is looked at by no contract."""
    plan = tomllib.loads((manifests.ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    packages = {service.replace("-", "_") for service in manifests.SERVICES}
    independent, shared = (
        next(contract for contract in plan["contracts"] if contract["name"].startswith(name))
        for name in ("Services, and the local stack", "What is shared")
    )
    for listed in (plan["root_packages"], independent["modules"], shared["forbidden_modules"]):
        assert packages <= set(listed)


def _whole_name(service: str) -> str:
    """As it is, or as a Python package."""
    return rf"\b{service.replace('-', '[-_]')}\b"


def _tracked() -> list[Path]:
    names = subprocess.run(["git", "ls-files"], cwd=manifests.ROOT, capture_output=True, text=True, check=False).stdout
    found = [name for name in names.splitlines() if not name.startswith((*_NO_EDIT, "services/"))]
    if not found:
        pytest.skip("no git here: nothing says which files are the project's")
    return [manifests.ROOT / name for name in found]


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""
