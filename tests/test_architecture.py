"""Pages name what exists: the key table of docs/architecture.md is that of keys.py; paths and links lead somewhere."""

import ast
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest
from sluiceway import keys
from sluiceway.service import agreement

from tests.every_key import every_key

ROOT = Path(__file__).parents[1]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
# They tell of what was.
_HISTORY = ("CHANGELOG.md", "docs/adr/")
_PLACES = (
    "",
    "shared/src/sluiceway",
    "shared/src/sluiceway/lua",
    "services/*/src",
    "services/*/src/*",
    "llm/src/*",
    "deploy/local/src/*",
)
_PATH = re.compile(r"`([\w.*/-]+(?:\.(?:py|lua|md|sql|ya?ml|toml|ts|tsx|mjs|html|sh|txt)|/|/Dockerfile))`")
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)")
# Made, kept by `make run`, or of a deployment; `my-…` and capitals stand for a name.
_NO_FILES = re.compile(r"my[-_]|[A-Z]{3}|run\.json|^lua/$|^/")


def _tracked() -> list[str]:
    """Without git, where nothing says which files are the project's, none: then the links are not looked at."""
    return subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()


TRACKED = _tracked()
NAMES = {part for path in TRACKED for part in Path(path).parts}
PACKAGES = sorted({(ROOT / path).parent for path in TRACKED if path.endswith("/__init__.py") and "/src/" in path})
PAGES = [ROOT / path for path in TRACKED if path.endswith(".md") and not path.startswith(_HISTORY)]


def _rows() -> dict[str, str]:
    """By key, how long it lives, as the table has it."""
    section = ARCHITECTURE.read_text().partition("## Keys\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \| .* \| ([^|]*) \|$", section, re.MULTILINE)
    return {key: lives for names, lives in rows for key in re.findall(r"`([^`]+)`", names)}


def test_the_key_table_has_every_key_and_no_other() -> None:
    assert sorted(_rows()) == sorted(every_key())


def test_the_key_table_says_which_keys_have_no_ttl() -> None:
    assert {key for key, lives in _rows().items() if lives.startswith("no TTL")} == {
        key for key in _rows() if any(fnmatch(key, pattern) for pattern in keys.PERSISTENT)
    }


def test_the_table_of_settings_that_must_agree_has_those_that_are_compared() -> None:
    section = ARCHITECTURE.read_text().partition("## Settings that must agree\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \| .* \| ([^|]*) \|$", section, re.MULTILINE)
    listed = {name for names, effect in rows if "not compared" not in effect for name in re.findall(r"`(\w+)`", names)}
    compared = (*agreement._AGREED, *agreement._AGREED_SECRETS, *agreement._AGREED_PLACES)
    assert listed == {name.upper() for name in compared}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package.relative_to(ROOT)))
def test_every_room_says_what_it_is(package: Path) -> None:
    assert ast.get_docstring(ast.parse((package / "__init__.py").read_text()))


def test_the_readme_of_shared_has_every_room_and_no_other() -> None:
    listed = set(re.findall(r"^\| `(\w+)/` \|", (ROOT / "shared" / "README.md").read_text(), re.MULTILINE))
    assert listed == {package.name for package in PACKAGES if package.parent == ROOT / "shared/src/sluiceway"}


def test_the_readme_of_llm_has_every_module() -> None:
    text = (ROOT / "llm" / "README.md").read_text()
    modules = {path.name for path in (ROOT / "llm" / "src").rglob("*.py") if path.name != "__init__.py"}
    assert [name for name in sorted(modules) if f"`{name}`" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_links_to_and_the_files_that_it_names_exist(page: Path) -> None:
    text = page.read_text()
    missing = [link for link in _LINK.findall(text) if not (page.parent / link).exists()]
    missing += [path for path in _PATH.findall(text) if not _NO_FILES.search(path) and not _exists(path, page)]
    assert not missing, f"{page.relative_to(ROOT)} names what is not there: {missing}"


def test_what_modules_of_tests_share_stands_in_none_of_them() -> None:
    """Who looks for it does not look there, and a test that is renamed breaks another one."""
    imported = re.compile(r"^from [\w.]*\btest_\w+ import|^import [\w.]*\btest_", re.MULTILINE)
    python = [path for path in TRACKED if path.endswith(".py") and (ROOT / path).exists()]
    assert [path for path in python if imported.search((ROOT / path).read_text())] == []


def test_every_decision_is_in_the_list_of_them() -> None:
    folder = ROOT / "docs" / "adr"
    listed = set(_LINK.findall((folder / "README.md").read_text()))
    assert {path.name for path in folder.glob("0*.md")} <= listed


def _exists(path: str, page: Path) -> bool:
    """From the root, from a package, or beside the page; a name alone anywhere."""
    if "/" not in path.rstrip("/"):
        return "*" in path or path.rstrip("/") in NAMES
    found = [ROOT.glob(f"{place}/{path}".lstrip("/")) for place in _PLACES]
    return any(next(paths, None) is not None for paths in [*found, page.parent.glob(path)])
