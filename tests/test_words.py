"""Names are made of the field's words: what the house has put away (see the glossary in turn/README.md) does not come
back. The wire, the keys, settings and the database keep their names."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
_PLACES = ("shared", "llm", "services", "bridges", "harness", "chaos", "bench", "deploy/local", "tests")
# Each with what it is called instead.
_PUT_AWAY = {
    "in_hand": "in flight, held",
    "hand(s|ed)?_back": "release, requeue",
    "beats?": "heartbeat",
    "epoch": "replication id",
    "told_again|tell_again": "rebuild, replay",
    "bury|buried|buries": "dead-letter",
    "settled?|settles": "finalize",
    "see(n|s)?_through": "finalize",
    "resting": "quarantined",
    "go(es)?_on|went_on|going_on": "resume, continue",
    "doorkeeper": "authenticator",
}
# In sentences, where a word alone may mean something else.
_PUT_AWAY_IN_SENTENCES = {
    "in hand": "in flight, held",
    "hand(s|ed|ing)? back": "release, requeue",
    "signs? of life": "heartbeat",
    "told again": "rebuilt, replayed",
    "buried": "dead-lettered",
    "(is|are|was|were|be) settled": "finalized",
    "doorkeeper": "authenticator",
}
# They say what was, or promise in the words that were given.
_HISTORY = ("CHANGELOG.md", "docs/adr/", "tests/requirements.py", "tests/test_words.py")
_SENTENCES = (".py", ".md", ".lua", ".ts", ".tsx")
# A column and a setting; what a bench waits for before it measures.
_KEPT = {"settled_at", "settle_after_seconds", "_SETTLE_SECONDS"}


# What is defined, and what is assigned to.
_NAME = re.compile(r"\b(?:def|class) +(\w+)|^ *(?:self\.)?(\w+)(?:: [^=\n]+)? = ", re.MULTILINE)
_BAD = re.compile(rf"(^|_)({'|'.join(_PUT_AWAY)})($|_)", re.IGNORECASE)


def _names() -> Iterator[tuple[Path, str]]:
    for place in _PLACES:
        for path in (ROOT / place).rglob("*.py"):
            if not {".venv", "node_modules"} & set(path.parts):
                yield path, path.stem
                for found in _NAME.finditer(path.read_text()):
                    yield path, found[1] or found[2]


def test_no_name_has_a_word_that_was_put_away() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path, name in _names()
        if name not in _KEPT and _BAD.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name))
    }
    assert sorted(found) == [], "the words are: " + "; ".join(f"{old}: {new}" for old, new in _PUT_AWAY.items())


def _tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return [path for path in listed.splitlines() if path.endswith(_SENTENCES) and not path.startswith(_HISTORY)]


def test_no_page_and_no_comment_has_a_phrase_that_was_put_away() -> None:
    bad = re.compile(rf"\b({'|'.join(_PUT_AWAY_IN_SENTENCES)})\b", re.IGNORECASE)
    found = {
        f"{path}: {phrase[0]}"
        for path in _tracked()
        if (ROOT / path).exists()
        for phrase in bad.finditer(re.sub(r"\s*\n[\s#/*|>-]*", " ", (ROOT / path).read_text()))
    }
    say = "; ".join(f"{old}: {new}" for old, new in _PUT_AWAY_IN_SENTENCES.items())
    assert sorted(found) == [], f"the words are: {say}"
