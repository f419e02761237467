"""Reads what deploys the system: the Kubernetes base, the compose file, the Dockerfiles. It changes nothing."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic_settings import BaseSettings

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "deploy" / "k8s"
BASE = K8S / "base"
OVERLAYS = tuple(sorted(path.parent.name for path in K8S.glob("overlays/*/kustomization.yaml")))
COMPONENTS = tuple(sorted(path.parent.name for path in K8S.glob("components/*/kustomization.yaml")))
# A folder of services/ with a pyproject is a service, for make and the pins too.
SERVICES = tuple(sorted(path.parent.name for path in ROOT.glob("services/*/pyproject.toml")))
WORKERS = tuple(service for service in SERVICES if service != "gateway")
# The oldest version that the README names, and a new one.
KUBERNETES_VERSIONS = ("1.30", "1.37")

Document = dict[str, Any]


def kustomization() -> Document:
    return cast("Document", yaml.safe_load((BASE / "kustomization.yaml").read_text()))


def resources() -> list[Document]:
    """Every object of the base, as it is written."""
    return [
        document
        for name in kustomization()["resources"]
        for document in yaml.safe_load_all((BASE / name).read_text())
        if document is not None
    ]


def of_kind(kind: str) -> dict[str, Document]:
    return {r["metadata"]["name"]: r for r in resources() if r["kind"] == kind}


def pods() -> dict[str, Document]:
    """The pod specs of all workloads, by the name of the workload; the Job's without its version."""
    return {
        r["metadata"]["name"].removesuffix("-VERSION"): r["spec"]["template"]["spec"]
        for r in resources()
        if r["kind"] in {"Deployment", "Job"}
    }


def container(pod: Document) -> Document:
    (only,) = pod["containers"]
    return cast("Document", only)


def environment(pod: Document) -> dict[str, Document]:
    return {entry["name"]: entry for entry in container(pod).get("env", [])}


def config_maps() -> dict[str, dict[str, str]]:
    """The literals of the base's ConfigMaps, by name."""
    return {
        generated["name"]: dict(literal.split("=", 1) for literal in generated["literals"])
        for generated in kustomization()["configMapGenerator"]
    }


def told(pod: Document) -> dict[str, str]:
    """What a pod of the base is told in clear."""
    found: dict[str, str] = {}
    for source in container(pod).get("envFrom", []):
        found |= config_maps()[source["configMapRef"]["name"]]
    return found | {name: entry["value"] for name, entry in environment(pod).items() if "value" in entry}


def of_component(name: str) -> list[Document]:
    """The objects that a component adds, as they are written."""
    folder = K8S / "components" / name
    written = yaml.safe_load((folder / "kustomization.yaml").read_text()).get("resources", [])
    return [document for file in written for document in yaml.safe_load_all((folder / file).read_text())]


def rendered(folder: Path = BASE) -> list[Document]:
    """What `kubectl kustomize` makes of a folder. kubectl comes with the development set."""
    kubectl = Path(sys.executable).with_name("kubectl")
    run = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    return [document for document in yaml.safe_load_all(run.stdout) if document is not None]


class MissingVariable(Exception):
    """What compose answers where the file says `${NAME:?why}` and NAME is not set."""


def compose(variables: Mapping[str, str]) -> Document:
    """The compose file with its variables filled in as the compose specification says.

    A variable of a service that has no value there (`NAME:`) is taken from `variables`, or left out.
    """
    # Through JSON and back: what the anchors share becomes separate values, as it does for compose.
    document = json.loads(json.dumps(yaml.safe_load((ROOT / "docker-compose.yml").read_text())))
    filled = cast("Document", _filled_in(document, variables))
    for service in filled["services"].values():
        told = {name: variables.get(name) if value is None else value for name, value in _environment_of(service)}
        if told:
            service["environment"] = {name: value for name, value in told.items() if value is not None}
    return filled


def _environment_of(service: Document) -> Iterable[tuple[str, str | None]]:
    return cast("Document", service.get("environment", {})).items()


def _filled_in(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {name: _filled_in(value, variables) for name, value in node.items()}
    if isinstance(node, list):
        return [_filled_in(value, variables) for value in node]
    return _text_filled_in(node, variables) if isinstance(node, str) else node


def _text_filled_in(text: str, variables: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name, operator, operand = match.groups()
        if found := variables.get(name):
            return found
        if operator == ":-":
            return str(operand)
        raise MissingVariable(f"{name}: {operand}")

    return re.sub(r"\$\{([A-Z_]+)(?:(:-|:\?)([^}]*))?\}", value, text)


def dockerfile(service: str) -> list[list[str]]:
    """The instructions of a service's image, one list of words for each; a continued line is one instruction."""
    text = (ROOT / "services" / "Dockerfile").read_text().replace("\\\n", " ").replace("${SERVICE}", service)
    return [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def settings(service: str) -> type[BaseSettings]:
    """The class of a service's settings: each has it at the same place."""
    return cast("type[BaseSettings]", import_module(f"{service.replace('-', '_')}.settings").Settings)


def own_packages(service: str) -> list[str]:
    """The directories of ours that make up a service: `shared`, what else it requires, and itself."""
    own = {"sluiceway-shared": "shared", "sluiceway-llm": "llm"}
    required = project(ROOT / "services" / service)["dependencies"]
    return [*(directory for name, directory in own.items() if name in required), f"services/{service}"]


def project(directory: Path) -> Document:
    return cast("Document", tomllib.loads((directory / "pyproject.toml").read_text())["project"])
