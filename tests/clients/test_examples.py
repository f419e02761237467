"""The examples for the AI SDK are whole programs for the packages that the other tests use."""

from pathlib import Path

import pytest

from harness.processes.node import find_node

_PACKAGES = Path(__file__).parent / "node_modules"
_EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.requirement("GW-2")
async def test_the_pages_of_the_examples_can_be_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_PATH", str(_PACKAGES))
    pages = [_EXAMPLES / "use-chat" / "main.jsx", *(_EXAMPLES / "use-chat-next" / "app").rglob("*.jsx")]
    assert len(pages) == 4
    node = find_node()
    options = ("--bundle", "--format=esm", "--jsx=automatic", "--external:next/*", "--log-level=warning")
    esbuild = _PACKAGES / "esbuild" / "bin" / "esbuild"
    code, output = await node.run(node.node, esbuild, *pages, *options, f"--outdir={tmp_path}", directory=tmp_path)
    assert (code, output) == (0, "")
