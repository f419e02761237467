"""A document while it is written: what stands so far, as Markdown, and how long that is."""

import re
from dataclasses import dataclass, field
from typing import Any

from tool_runner.tools.asking import Said
from tool_runner.tools.writing.outline import Outline

SHOWN_CHARS = 60_000
NOTHING_SAID = "*(The model had nothing to say here.)*"
_LAST_SENTENCE = re.compile(r"^.*(?:[.!?…][\"'\u201d\u2019»)\]*_]*(?=\s|$)|[\u3002\uff01\uff1f]+[」』]?)", re.DOTALL)


@dataclass(slots=True)
class Document:
    """`written`: the text of each section that is done. `current`: that of the one being written, as far as it is."""

    outline: Outline
    written: list[str] = field(default_factory=list)
    current: str = ""

    def grow(self, text: str) -> None:
        self.current = without_heading(text, self._heading)

    def end_section(self, said: Said | None) -> None:
        """None: the model had no words for it, which is said in its place."""
        text = without_heading(said.text, self._heading) if said is not None else ""
        if said is not None and said.shortened:
            text = whole_sentences(text)
        self.written.append(text or NOTHING_SAID)
        self.current = ""

    @property
    def markdown(self) -> str:
        texts = [*self.written, self.current] if self.current else self.written
        parts = [f"# {self.outline.title}"]
        for section, text in zip(self.outline.sections, texts, strict=False):
            parts += [f"## {section.heading}", text]
        return "\n\n".join(parts) + "\n"

    @property
    def word_count(self) -> int:
        """Words of the text; headings do not count."""
        return sum(count_words(text) for text in [*self.written, self.current] if text != NOTHING_SAID)

    @property
    def shown(self) -> dict[str, Any]:
        """What is seen of it while it grows, {"title", "markdown", "word_count"}: of a very long text, the end."""
        text = self.markdown
        seen = text if len(text) <= SHOWN_CHARS else f"…{text[-SHOWN_CHARS:]}"
        return {"title": self.outline.title, "markdown": seen, "word_count": self.word_count}

    @property
    def result(self) -> dict[str, Any]:
        """{"title", "markdown", "word_count", "sections": n}"""
        return {
            "title": self.outline.title,
            "markdown": self.markdown,
            "word_count": self.word_count,
            "sections": len(self.written),
        }

    @property
    def _heading(self) -> str:
        return self.outline.sections[len(self.written)].heading


def count_words(text: str) -> int:
    return len(text.split())


def without_heading(text: str, heading: str) -> str:
    """Models like to repeat the heading that they were given."""
    first, _, rest = text.strip().partition("\n")
    is_heading = first.strip("#*_: ").casefold() == heading.casefold()
    return rest.strip() if is_heading else text.strip()


def whole_sentences(text: str) -> str:
    """Up to the end of the last sentence, of a text that stops in the middle; all of it where that would lose most."""
    found = _LAST_SENTENCE.match(text)
    return found[0] if found and 2 * len(found[0]) >= len(text) else f"{text}…"
