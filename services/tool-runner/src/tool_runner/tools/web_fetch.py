"""The tool `web_fetch`: a public web page as text, or JSON as it is."""

import codecs
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tool_runner.settings import Settings
from tool_runner.tool.definition import Tool, ToolContext, ToolFailed
from tool_runner.tools.web.addresses import AddressRefused, Guard, NameUnknown
from tool_runner.tools.web.client import FetchFailed, Page, WebClient
from tool_runner.tools.web.html_reader import HtmlNotRead, HtmlReaders

_USUAL_CHARS = 20_000
_MAX_CHARS = 200_000
_MAX_TITLE_CHARS = 300
_MORE_SECONDS = 20
_USUAL_CHARSET = "utf-8"
_CHARSETS = (
    *("utf-8", "utf-16", "ascii", "iso8859-", "iso2022", "cp125", "cp866", "cp874", "tis-620", "koi8-", "mac-"),
    *("gb", "big5", "euc", "shift", "cp932", "cp949"),
)
_HTML = frozenset({"text/html", "application/xhtml+xml"})


class Address(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: str = Field(min_length=1, max_length=4000, description="An http or https address.")
    max_chars: int = Field(
        default=_USUAL_CHARS, ge=100, le=_MAX_CHARS, description="How much of the text is wanted, at most."
    )


class WebFetch(Tool[Address]):
    """Answers {"url", "status", "content_type", "title"?, "text", "truncated"}. An error page is an answer, too."""

    name = "web_fetch"
    title = "Web page"
    description = "Fetches a public web page and answers its text. Links come with their address."
    Input = Address
    repeatable = True

    def __init__(self, settings: Settings) -> None:
        guard = Guard(settings.web_fetch_allow_private)
        self._client = WebClient(guard, seconds=settings.web_fetch_seconds, max_bytes=settings.web_fetch_max_bytes)
        self._readers = HtmlReaders()
        self.timeout_seconds = settings.web_fetch_seconds + _MORE_SECONDS

    async def run(self, arguments: Address, context: ToolContext) -> dict[str, Any]:
        await context.progress(message="Fetching the page")
        try:
            page = await self._client.fetch(arguments.url)
        except AddressRefused as error:
            raise ToolFailed(str(error), type="ADDRESS_REFUSED") from error
        except (NameUnknown, FetchFailed) as error:
            raise ToolFailed(str(error), type="FETCH_FAILED") from error
        return await self._told(page, arguments.max_chars)

    async def _read(self, page: Page, charset: str, max_chars: int) -> tuple[str | None, str]:
        try:
            return await self._readers.read(page.body, charset, page.url, max_chars)
        except HtmlNotRead as error:
            raise ToolFailed("The page is too much for its reader.", type="FETCH_FAILED") from error

    async def _told(self, page: Page, max_chars: int) -> dict[str, Any]:
        told: dict[str, Any] = {"url": page.url, "status": page.status, "content_type": page.content_type}
        charset = _known(page.charset)
        if page.content_type in _HTML:
            title, text = await self._read(page, charset, max_chars)
            if title is not None:
                told["title"] = title[:_MAX_TITLE_CHARS]
        else:
            text = page.body.decode(charset, errors="replace")
        return {**told, "text": text[:max_chars], "truncated": page.truncated or len(text) > max_chars}


def _known(charset: str | None) -> str:
    """A charset of the web, by the name that Python has for it. Python has others, some of which take the square of the
    time of what they decode."""
    try:
        name = codecs.lookup(charset or _USUAL_CHARSET).name
    except (LookupError, ValueError):
        return _USUAL_CHARSET
    return name if name.startswith(_CHARSETS) else _USUAL_CHARSET
