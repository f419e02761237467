"""What a model said, or somebody sent, → the draft of an outline.

Guarantees: never raises, always ends, and says nothing that was not there. It looks for JSON first, also inside other
text, cut off, or in the shapes that models use instead of the one they were asked for; then for Markdown headings,
numbered lines, bold lines or bullets; and takes plain text as a section a paragraph where there is nothing else.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

MAX_SECTIONS = 20
_HEADING_CHARS = 120
_SUMMARY_CHARS = 500
_HEADING_WORDS = 8
_JSON_STARTS = 50
"""At how many brackets to look for JSON: text full of brackets must not cost the square of its length."""
_NESTED = 3

_LISTS = ("sections", "outline", "chapters", "headings", "items", "parts", "document")
_HEADINGS = ("heading", "title", "name", "section", "topic")
_SUMMARIES = ("summary", "description", "content", "details", "text")
# What a weak model copies from the question instead of filling it in.
_PLACEHOLDERS = frozenset({"", "...", "…", "string", "heading", "title", "summary", "sections", "section", "outline"})

_MARKDOWN = re.compile(r"^ {0,3}(#{1,6})\s+(.+)$")
_NUMBERED = re.compile(r"^\s*(?:(?:section|chapter|part)\s+)?(?:\d{1,2}|[IVX]{1,4})\s?[.):\u2013-]\s*(?=\D)(.+)$", re.I)
_BOLD = re.compile(r"^\s*\*\*([^*]+)\*\*:?\s*(.*)$")
_BULLET = re.compile(r"^\s*[-*•+]\s+(.+)$")
_TITLE = re.compile(r"^\W*title\W*[:\uff1a]\W*(.+)$", re.I)
_HEAD_AND_SUMMARY = re.compile(r"^(.{2,100}?)(?:\s+[-\u2013\u2014]\s+|:\s+|\uff1a)(.+)$")
_SENTENCE = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])\s+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Draft:
    """The title, where one was named, and the sections as (heading, summary)."""

    title: str = ""
    sections: list[tuple[str, str]] = field(default_factory=list)


def read_draft(said: str) -> Draft:
    """The draft that is in a text. Without sections only where the text has no words."""
    for reader in (_from_json, _from_lines, _from_prose):
        draft = _cleaned(reader(said))
        if draft.sections:
            return draft
    return Draft()


def draft_of(value: Any) -> Draft:
    """The draft that is in a JSON value, or in a text."""
    return read_draft(value) if isinstance(value, str) else _cleaned(_of_value(value))


def short_title(text: str) -> str:
    """A title made of the beginning of a text."""
    words = one_line(text).split(" ")
    title = " ".join(words[:_HEADING_WORDS])[:_HEADING_CHARS].strip(" ,;:.")
    return title[:1].upper() + title[1:]


def one_line(text: str) -> str:
    """Without line breaks, doubled blanks, control characters and halves of surrogate pairs."""
    return " ".join(_CONTROL.sub(" ", text).encode(errors="replace").decode().split())


def _cleaned(draft: Draft) -> Draft:
    """Without placeholders and repeats, and not too long."""
    sections: dict[str, tuple[str, str]] = {}
    for heading, summary in draft.sections:
        plain = _plain(heading, _HEADING_CHARS)
        if plain.lower() not in _PLACEHOLDERS:
            sections.setdefault(plain.lower(), (plain, _without_placeholder(_plain(summary, _SUMMARY_CHARS))))
    title = _without_placeholder(_plain(draft.title, _HEADING_CHARS))
    return Draft(title, list(sections.values())[:MAX_SECTIONS])


def _plain(text: str, most: int) -> str:
    """One line without Markdown's marks around it."""
    line = one_line(text)
    bare = line.strip('#*_`"“” ').removesuffix(":").rstrip("*_ ")
    return bare if len(bare) <= most else bare[: most - 1].rstrip() + "…"


def _without_placeholder(text: str) -> str:
    return "" if text.lower() in _PLACEHOLDERS else text


# JSON


def _from_json(said: str) -> Draft:
    values = list(_values_in(said))
    for value in values:
        draft = _of_value(value)
        if draft.sections:
            return draft
    return Draft()


def _values_in(said: str) -> Iterator[Any]:
    """JSON objects and lists in a text, outer ones first; last, all of them as one list."""
    decoder, found, end = json.JSONDecoder(), [], 0
    starts = [match.start() for match in re.finditer(r"[{\[]", said)][:_JSON_STARTS]
    for start in starts:
        if start < end:
            continue  # inside of what was read
        try:
            value, end = decoder.raw_decode(said, start)
        except (ValueError, RecursionError):
            if start == starts[0]:
                yield from _cut_off(said[start:])
            continue
        found.append(value)
        yield value
    yield found


def _cut_off(said: str) -> Iterator[Any]:
    """JSON that only lacks its end."""
    try:
        yield from_json(said.encode(errors="replace"), allow_partial="trailing-strings")
    except (ValueError, RecursionError):
        return


def _of_value(value: Any, depth: int = 0) -> Draft:
    if isinstance(value, list):
        return Draft("", [section for item in value if (section := _section_of(item))])
    if not isinstance(value, dict) or depth > _NESTED:
        return Draft()
    members = {str(name).lower(): inner for name, inner in value.items()}
    title = _first_text(value, _HEADINGS)
    for name in _LISTS:
        inner = members.get(name)
        draft = read_draft(inner) if isinstance(inner, str) and "\n" in inner else _of_value(inner, depth + 1)
        if draft.sections:
            return Draft(title or draft.title, draft.sections)
    return Draft()


def _section_of(item: Any) -> tuple[str, str] | None:
    if isinstance(item, str):
        return _split(item)
    if not isinstance(item, dict):
        return None
    heading = _first_text(item, _HEADINGS)
    return (heading, _first_text(item, _SUMMARIES)) if heading else None


def _first_text(members: dict[str, Any], names: tuple[str, ...]) -> str:
    """The text of the first of these members, whatever the case of its name; a list of texts is joined."""
    lowered = {str(name).lower(): value for name, value in members.items()}
    for name in names:
        value = lowered.get(name)
        if isinstance(value, list):
            value = "; ".join(text for text in value if isinstance(text, str))
        if isinstance(value, str) and value.strip():
            return value
    return ""


def _split(text: str) -> tuple[str, str]:
    """`Heading: what belongs there` in two."""
    found = _HEAD_AND_SUMMARY.match(one_line(text))
    return (found[1], found[2]) if found else (text, "")


# Lines


def _from_lines(said: str) -> Draft:
    lines = said.splitlines()
    title = next((found[1] for line in lines if (found := _TITLE.match(line))), "")
    for pattern in _section_patterns(lines):
        sections = _sections_by(pattern, lines)
        if len(sections) > 1:
            return Draft(title or _top_heading(lines, pattern), sections)
    return Draft()


def _section_patterns(lines: list[str]) -> Iterator[re.Pattern[str]]:
    """What marks a section, likeliest first: the highest level of headings that there is more than once."""
    for level in range(1, 7):
        yield re.compile(rf"^ {{0,3}}#{{{level}}}\s+(.+)$")
    indents = [len(line) - len(line.lstrip()) for line in lines if _NUMBERED.match(line)]
    if indents:
        yield re.compile(rf"^(?=\s{{{min(indents)}}}\S){_NUMBERED.pattern[1:]}", re.I)
    yield _BOLD
    yield _BULLET


def _sections_by(pattern: re.Pattern[str], lines: list[str]) -> list[tuple[str, str]]:
    """A section for each line that fits; what follows up to the next one tells what belongs there."""
    sections: list[tuple[str, list[str]]] = []
    for line in lines:
        if found := pattern.match(line):
            heading, summary = _split(_unnumbered(found[1]))
            sections.append((heading, [summary, *found.groups()[1:]]))
        elif sections and not _MARKDOWN.match(line):
            bullet = _BULLET.match(line)
            sections[-1][1].append(bullet[1] if bullet else line)
    return [(heading, one_line(" ".join(told))) for heading, told in sections]


def _unnumbered(heading: str) -> str:
    """`## 2. Floods` has both marks."""
    found = _NUMBERED.match(heading)
    return found[1] if found else heading


def _top_heading(lines: list[str], pattern: re.Pattern[str]) -> str:
    """The first Markdown heading that is not a section's."""
    return next((found[2] for line in lines if (found := _MARKDOWN.match(line)) and not pattern.match(line)), "")


# Prose


def _from_prose(said: str) -> Draft:
    """A section a paragraph; one paragraph alone: a section a sentence."""
    parts = [part for part in re.split(r"\n\s*\n", said) if one_line(part)]
    if len(parts) == 1:
        parts = _SENTENCE.split(one_line(said))
    return Draft("", [(short_title(part), one_line(part)) for part in parts])
