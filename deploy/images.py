"""Builds the images of all services, with labels and a list of parts each: `make images`.

Environment: ENGINE (docker, podman or buildah; by default the first that is there), TAG (dev), REGISTRY (a prefix of
the names, such as registry.example.com/team), PUSH (any value: push what was built), PLATFORM (linux/amd64,linux/arm64:
one name for images of several kinds of machine; this machine has to be able to run them, by qemu's binfmt, and docker
needs PUSH with it, as it keeps no such name by itself). Arguments: services; none: all.

Guarantees: every image is built by services/Dockerfile from what is checked out, and is labelled with the commit. Its
parts are in dist/sbom/sluiceway-SERVICE.cdx.json (CycloneDX, of the pins with their hashes). The exit code is 0 when
all were built; the first that fails ends it, and its engine has said why.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

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
    platform: str = ""

    @classmethod
    def of(cls, environment: Mapping[str, str], revision: str) -> "Plan":
        """Raises NoEngine."""
        asked = environment.get("ENGINE") or next((name for name in ENGINES if shutil.which(name)), "")
        if asked not in ENGINES:
            raise NoEngine(f"ENGINE is one of {', '.join(ENGINES)}, and one of them has to be installed")
        registry = environment.get("REGISTRY", "").rstrip("/")
        push, platform = bool(environment.get("PUSH")), environment.get("PLATFORM", "")
        return cls(asked, environment.get("TAG") or "dev", registry, push, revision, platform)

    def image(self, service: str) -> str:
        return f"{self.registry}/{self.name(service)}" if self.registry else self.name(service)

    def name(self, service: str) -> str:
        return f"sluiceway-{service}:{self.tag}"

    def build(self, service: str) -> list[str]:
        """The command, to be run in the root of the repository."""
        labels = {"title": f"sluiceway-{service}", "version": self.tag, "revision": self.revision}
        told = [word for name, value in labels.items() for word in ("--label", f"{_LABEL}.{name}={value}")]
        file = ["--file", "services/Dockerfile", "--build-arg", f"SERVICE={service}"]
        return [self.engine, *self._building(), *file, *told, self._naming(), self.image(service), "."]

    def commands(self, service: str) -> list[list[str]]:
        """One after the other: build, and push where that is asked for."""
        pushes = self.push and not self._pushed_by_the_build
        return [self.build(service), *([self._pushing(service)] if pushes else [])]

    @property
    def _pushed_by_the_build(self) -> bool:
        return bool(self.platform) and self.engine == "docker"

    def _building(self) -> list[str]:
        if self._pushed_by_the_build:
            return ["buildx", "build", *(["--push"] if self.push else []), "--platform", self.platform]
        return ["build", *(["--platform", self.platform] if self.platform else [])]

    def _naming(self) -> str:
        """Images of several platforms are kept by podman and buildah as a list of that name."""
        return "--manifest" if self.platform and not self._pushed_by_the_build else "--tag"

    def _pushing(self, service: str) -> list[str]:
        image = self.image(service)
        if self.platform:
            return [self.engine, "manifest", "push", "--all", image, f"docker://{image}"]
        return [self.engine, "push", image]


def write_bill(service: str) -> Path:
    """Write the list of a service's parts; where it is."""
    root = Component(name=f"sluiceway-{service}", type=ComponentType.APPLICATION)
    bom = Bom(components=_parts((ROOT / "requirements" / f"{service}.txt").read_text()))
    bom.metadata.component = root
    bom.register_dependency(root, bom.components)
    out = ROOT / "dist" / "sbom" / f"sluiceway-{service}.cdx.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(JsonV1Dot6(bom).output_as_string(indent=2) + "\n")
    return out


def _parts(pins: str) -> Iterator[Component]:
    """Of a file of pins: a line for each part, and lines with its hashes below."""
    for block in re.split(r"^(?=[\w.-]+==)", pins, flags=re.MULTILINE):
        if pin := re.match(r"([\w.-]+)==([^ ;\\]+)", block):
            name, version = pin.groups()
            hashes = [HashType(alg=HashAlgorithm.SHA_256, content=one) for one in re.findall(r"sha256:(\w+)", block)]
            # Each is of one file: of a platform, or the source.
            files = [
                ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(f"pypi:{name}"), hashes=[one])
                for one in hashes
            ]
            purl = PackageURL("pypi", None, name, version)
            yield Component(name=name, version=version, purl=purl, bom_ref=str(purl), external_references=files)


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
        write_bill(service)
        for command in plan.commands(service):
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
