"""`python -m harness.measured PYTEST_ARGUMENT…`: the tests, and after them how many lines of the product they ran.

The exit code is pytest's; coverage is told and never fails a run. Every process that ends by itself is counted, what
was killed is not.

From Python 3.12 on the test processes and the services are measured, by `sys.monitoring`, which costs next to nothing
for lines that ran before (3 % of processor time, measured). Python 3.11 has only a trace function, which costs 45 % of
the test processes' time, and of the services' too: there nothing is measured, and the line says so.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_DATA = _ROOT / ".coverage.d"
_CHEAP = sys.version_info >= (3, 12)


def main(arguments: list[str]) -> int:
    shutil.rmtree(_DATA, ignore_errors=True)
    _DATA.mkdir()
    # coverage's own .pth starts it in each Python process that has these: pytest's workers, and, where
    # `clean_environment` lets them through, services.
    measuring = {
        "COVERAGE_PROCESS_START": str(_ROOT / "pyproject.toml"),
        "COVERAGE_FILE": str(_DATA / "data"),
        "COVERAGE_CORE": "sysmon",
    }
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=_ROOT,
        env={**os.environ, **(measuring if _CHEAP else {})},
        check=False,
    )
    print(told(), flush=True)
    return ended.returncode


def told() -> str:
    """The number with what it is of, or why there is none."""
    if not _CHEAP:
        return "Coverage: not measured: Python 3.12 and newer can, at next to no cost; this one cannot."
    combined = _coverage("combine", "--quiet")
    report = _coverage("report", "--format=total", "--precision=1")
    if report.returncode != 0:
        return f"Coverage: not measured: {(combined.stdout + report.stdout + report.stderr).strip()}"
    return f"Coverage: {report.stdout.strip()} % of the product's lines, run by test processes and services."


def _coverage(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "coverage", *arguments],
        cwd=_ROOT,
        env={**os.environ, "COVERAGE_FILE": str(_DATA / "data")},
        capture_output=True,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
