"""What a request says of its message beside the text: kept in the message's metadata, read by the chat worker.

Guarantees: metadata of another shape say nothing; reading them never fails.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_PAGE = "context"
_BY_USER = "isUserMessage"


@dataclass(frozen=True, slots=True)
class Page:
    """What the user was looking at."""

    url: str
    content: str


@dataclass(frozen=True, slots=True)
class Question:
    """`by_user`: false where the application speaks, and not its user."""

    page: Page | None = None
    by_user: bool = True

    @property
    def metadata(self) -> dict[str, Any] | None:
        """None where there is nothing to be said."""
        told: dict[str, Any] = {}
        if self.page is not None:
            told[_PAGE] = {"url": self.page.url, "content": self.page.content}
        if not self.by_user:
            told[_BY_USER] = False
        return told or None

    @classmethod
    def read(cls, metadata: Mapping[str, Any] | None) -> "Question":
        told = metadata or {}
        return cls(_page(told.get(_PAGE)), told.get(_BY_USER) is not False)


def _page(told: object) -> Page | None:
    if not isinstance(told, dict):
        return None
    url, content = told.get("url"), told.get("content")
    return Page(url, content) if isinstance(url, str) and isinstance(content, str) else None
