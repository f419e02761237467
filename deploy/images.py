"""Builds the images of all services, with labels and a list of parts each: `make images`.

Environment: ENGINE (docker, podman or buildah; by default the first that is there), TAG (dev), REGISTRY (a prefix of
the names, such as registry.example.com/team), PUSH (any value: push what was built). Arguments: services; none: all.

Guarantees: every image is built by services/Dockerfile from what is checked out, and is labelled with the commit. Its
parts are in dist/sbom/sluiceway-SERVICE.cdx.json (CycloneDX, of the pins with their hashes). The exit code is 0 when
all were built; the first that fails ends it, and its engine has said why.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SERVICES = tuple(sorted(path.parent.name for path in ROOT.glob("services/*/pyproject.toml")))
ENGINES = ("docker", "podman", "buildah")
_LABEL = "org.opencontainers.image"


class NoEngine(Exception):
    """Nothing here builds images."""


@dataclass(frozen=True, slots=True)
class Plan:
    engine: str
    tag: str
    registry: str
    push: bool
    revision: str

    @classmethod
    def of(cls, environment: Mapping[str, str], revision: str) -> "Plan":
        """Raises NoEngine."""
        asked = environment.get("ENGINE") or next((name for name in ENGINES if shutil.which(name)), "")
        if asked not in ENGINES:
            raise NoEngine(f"ENGINE is one of {', '.join(ENGINES)}, and one of them has to be installed")
        registry = environment.get("REGISTRY", "").rstrip("/")
        return cls(asked, environment.get("TAG") or "dev", registry, bool(environment.get("PUSH")), revision)

    def image(self, service: str) -> str:
        return f"{self.registry}/{self.name(service)}" if self.registry else self.name(service)

    def name(self, service: str) -> str:
        return f"sluiceway-{service}:{self.tag}"

    def build(self, service: str) -> list[str]:
        """The command, to be run in the root of the repository."""
        labels = {"title": f"sluiceway-{service}", "version": self.tag, "revision": self.revision}
        told = [word for name, value in labels.items() for word in ("--label", f"{_LABEL}.{name}={value}")]
        file = ["--file", "services/Dockerfile", "--build-arg", f"SERVICE={service}"]
        return [self.engine, "build", *file, *told, "--tag", self.image(service), "."]

    def pushing(self, service: str) -> list[str]:
        return [self.engine, "push", self.image(service)]


def bill(service: str) -> list[str]:
    """The command that writes the list of a service's parts."""
    out = ROOT / "dist" / "sbom"
    out.mkdir(parents=True, exist_ok=True)
    program = Path(sys.executable).with_name("cyclonedx-py")
    pins = str(ROOT / "requirements" / f"{service}.txt")
    form = ["--output-reproducible", "--of", "JSON", "--pyproject", str(ROOT / "services" / service / "pyproject.toml")]
    return [str(program), "requirements", pins, *form, "-o", str(out / f"sluiceway-{service}.cdx.json")]


def main(services: Sequence[str]) -> int:
    unknown = sorted(set(services) - set(SERVICES))
    if unknown:
        print(f"no such service: {', '.join(unknown)}; there are {', '.join(SERVICES)}", file=sys.stderr)
        return 2
    try:
        plan = Plan.of(os.environ, _revision())
    except NoEngine as error:
        print(error, file=sys.stderr)
        return 2
    for service in services or SERVICES:
        for command in (bill(service), plan.build(service), *([plan.pushing(service)] if plan.push else [])):
            if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:  # noqa: S603 - ours
                print(f"{plan.image(service)}: failed, see above", file=sys.stderr)
                return 1
        print(f"{plan.image(service)}: built{' and pushed' if plan.push else ''}")
    return 0


def _revision() -> str:
    """The commit, with a mark where something is changed; nothing outside of a clone."""
    if shutil.which("git") is None:
        return ""
    asked = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*"]
    run = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    return run.stdout.strip() if run.returncode == 0 else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
