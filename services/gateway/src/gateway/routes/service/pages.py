"""Files for people: the chat page and what it loads, as `web/` was built into the package.

Everything comes from this origin and nothing is inline but a page's styles, so that it is painted without another round
trip, and the script that asks for the page again where its program does not come. The content policy says so, with the
hashes of both. A file under `assets/` has its content's hash in its
name and never changes: browsers keep it for a year and do not ask again. Of everything else they ask each time whether
it has changed, and get 304 when not: a new version of the gateway never meets an old script. A page's tag is the hash
of what is in it: two builds of one size and time differ in the names of their scripts.
Files are compressed when the page is built; nothing is compressed while it is served.
"""

import mimetypes
import re
from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from os import PathLike, stat_result
from pathlib import Path

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from gateway.api.encodings import takes

_DIRECTORY = Path(__file__).parents[2] / "page"
_NOT_BUILT = "The chat page has not been built. `make run` builds it; the API works without it.\n"
_ASK_AGAIN = "no-cache"
_KEEP = "public, max-age=31536000, immutable"
_POLICY = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self'{styles}; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; frame-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
# Where diagrams are drawn that models write: a document of no origin, in a frame of the page, which reaches nothing.
_DRAWING = "diagram.html"
_DRAWING_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; sandbox allow-scripts; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Frame-Options": "SAMEORIGIN",
}
# What a document of no origin loads is asked for across origins. There is nothing in these files that is not public.
_OPEN = {"Access-Control-Allow-Origin": "*"}
_STYLES = re.compile(r"<style>(.*?)</style>", re.DOTALL)
_SCRIPTS = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_HEADERS = {"Content-Security-Policy": _POLICY.format(scripts="", styles=""), "Vary": "Accept-Encoding"}
# The best one first, with the ending of its files.
_ENCODINGS = (("br", ".br"), ("gzip", ".gz"))
_MEDIA_TYPES = {".js": "text/javascript", ".webmanifest": "application/manifest+json", ".woff2": "font/woff2"}


@dataclass(frozen=True)
class BuiltPage:
    """What a page's own bytes say of it: the policy that lets be what is inline, and its tag."""

    policy: str
    tag: str


def chat_page(asked: Headers) -> Response:
    return _page("index.html", asked)


def operations_page(asked: Headers) -> Response:
    """It has nothing of its own: what it shows it asks for, as who may see it."""
    return _page("ops.html", asked)


def _page(name: str, asked: Headers) -> Response:
    page = _DIRECTORY / name
    if not page.is_file():
        return PlainTextResponse(_NOT_BUILT, 503)
    built = _built(page, page.stat().st_mtime_ns)
    response = _file(page, asked, _ASK_AGAIN)
    response.headers["Content-Security-Policy"] = built.policy
    response.headers["ETag"] = f'"{built.tag}-{response.headers.get("content-encoding", "plain")}"'
    known = [tag.strip().removeprefix("W/") for tag in asked.get("if-none-match", "").split(",")]
    return NotModified(response.headers) if response.headers["ETag"] in known else response


@lru_cache(maxsize=4)
def _built(page: Path, _changed_ns: int) -> BuiltPage:
    text = page.read_text()
    policy = _POLICY.format(scripts=_hashes(_SCRIPTS.findall(text)), styles=_hashes(_STYLES.findall(text)))
    return BuiltPage(policy, sha256(text.encode()).hexdigest()[:20])


def _hashes(inline: list[str]) -> str:
    digests = (b64encode(sha256(one.encode()).digest()).decode() for one in inline)
    return "".join(f" 'sha256-{digest}'" for digest in digests)


class PageFiles(StaticFiles):
    def __init__(self) -> None:
        super().__init__(directory=_DIRECTORY, check_dir=False)

    async def get_response(self, path: str, scope: Scope) -> Response:
        if "\x00" in path or path.endswith((".br", ".gz")) or not _DIRECTORY.is_dir():
            raise HTTPException(404)
        return await super().get_response(path, scope)

    def file_response(
        self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        path = Path(full_path)
        asked = Headers(scope=scope)
        is_asset = path.parent.name == "assets"
        response = _file(path, asked, _KEEP if is_asset else _ASK_AGAIN)
        response.headers.update(_OPEN if is_asset else _DRAWING_HEADERS if path.name == _DRAWING else {})
        return NotModified(response.headers) if self.is_not_modified(response.headers, asked) else response


class NotModified(Response):
    """304, with those headers of the file that tell whether it has changed, and its policy: a browser takes the headers
    of a 304 for those of what it has, and a response without a policy gets the strictest."""

    _KEPT = (
        *("cache-control", "etag", "vary", "last-modified"),
        *("content-security-policy", "x-frame-options", "access-control-allow-origin"),
    )

    def __init__(self, headers: Headers) -> None:
        super().__init__(None, 304, {name: value for name, value in headers.items() if name in self._KEPT})


def _file(path: Path, asked: Headers, cache_control: str) -> FileResponse:
    """The file, compressed where the browser takes that and it was worth it. A part of a file is of the plain one."""
    found, encoding = (path, None) if "range" in asked else _encoded(path, asked.get("accept-encoding", ""))
    headers = {**_HEADERS, "Cache-Control": cache_control} | ({"Content-Encoding": encoding} if encoding else {})
    return FileResponse(found, headers=headers, media_type=_media_type(path), stat_result=found.stat())


def _encoded(path: Path, accepted: str) -> tuple[Path, str | None]:
    for encoding, ending in _ENCODINGS:
        compressed = path.with_name(path.name + ending)
        if takes(encoding, accepted) and compressed.is_file():
            return compressed, encoding
    return path, None


def _media_type(path: Path) -> str:
    known = _MEDIA_TYPES.get(path.suffix)
    return known or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
