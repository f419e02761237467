"""Renews and checks the pins: `python requirements/pins.py lock` and `… check`.

Guarantees: every file names exact versions with hashes and no address; all files agree on a version, since each is
resolved under the constraints of `dev.txt`; `check` writes nothing and does not fail because somebody released
something: it resolves again from the present pins and compares.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent

SERVICES = sorted(path.parent.name for path in ROOT.glob("services/*/pyproject.toml"))
OWN = ["shared", "llm", "local", *SERVICES]
# Those that take part in no other resolution: crewai holds back what the services use newer.
ALONE = ("dev", "uv", "crewai")

# name → what uv resolves. dev comes first: it contains all of the others and constrains them.
SOURCES = {
    "dev": ["--group", "pyproject.toml:dev", "deploy/local/pyproject.toml", "requirements/build.in"],
    "local": ["deploy/local/pyproject.toml"],
    **{service: [f"services/{service}/pyproject.toml"] for service in SERVICES},
    "build": ["requirements/build.in"],
    "web": ["requirements/web.in"],
    "crewai": ["bridges/crewai/pyproject.toml"],
    "uv": ["requirements/uv.in"],
}


def resolve(name: str, output: Path, *, upgrade: bool) -> None:
    """Resolves into `output`. What stands there already is preferred unless `upgrade`. Raises CalledProcessError."""
    command = [os.environ.get("UV", "uv"), "pip", "compile", *SOURCES[name], "--output-file", str(output)]
    command += ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-header", "--quiet"]
    command += [argument for package in OWN for argument in ("--no-emit-package", f"sluiceway-{package}")]
    if name not in ALONE:
        command += ["--constraints", "requirements/dev.txt"]
    if upgrade:
        command.append("--upgrade")
    subprocess.run(command, cwd=ROOT, check=True)


def lock() -> int:
    for name in SOURCES:
        resolve(name, HERE / f"{name}.txt", upgrade=True)
        print(f"requirements/{name}.txt")
    return 0


def check() -> int:
    complaints = [complaint for name in SOURCES if (complaint := check_pins(name))]
    complaints += [complaint for path in package_locks() if (complaint := check_package_lock(path))]
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


def check_pins(name: str) -> str | None:
    """What is wrong with one file of pins, as a sentence."""
    pins = HERE / f"{name}.txt"
    if not pins.exists():
        return f"requirements/{name}.txt is missing: `make lock` makes it"
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / pins.name
        again.write_bytes(pins.read_bytes())
        resolve(name, again, upgrade=False)
        if again.read_bytes() == pins.read_bytes():
            return None
    return f"requirements/{name}.txt does not fit the pyprojects: `make lock` renews it"


def package_locks() -> list[Path]:
    found = []
    for folder, below, files in os.walk(ROOT):
        below[:] = [name for name in below if name != "node_modules" and not name.startswith(".")]
        found += [Path(folder, name) for name in files if name == "package-lock.json"]
    return found


def check_package_lock(path: Path) -> str | None:
    """npm's lock must carry hashes, no addresses, and what its package.json asks for."""
    locked = json.loads(path.read_text(encoding="utf-8"))["packages"]
    asked = json.loads(path.with_name("package.json").read_text(encoding="utf-8"))
    where = path.relative_to(ROOT)
    for kind in ("dependencies", "devDependencies"):
        if asked.get(kind, {}) != locked[""].get(kind, {}):
            return f"{where} does not fit its package.json: `npm install --package-lock-only` there renews it"
    for package, entry in locked.items():
        if "resolved" in entry and not entry.get("link"):
            return f"{where} names an address for {package}: set omit-lockfile-registry-resolved in .npmrc"
        if package.startswith("node_modules/") and not entry.get("link") and "integrity" not in entry:
            return f"{where} has no hash for {package}"
    return None


if __name__ == "__main__":
    commands = {"lock": lock, "check": check}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit("usage: pins.py lock|check")
    sys.exit(commands[sys.argv[1]]())
