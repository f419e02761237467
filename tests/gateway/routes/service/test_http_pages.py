"""The chat page's files: how they are compressed, kept and refused."""

import gzip
import re
from base64 import b64encode
from hashlib import sha256

import httpx
import pytest

pytestmark = pytest.mark.requirement("GW-8")


async def _script(http: httpx.AsyncClient) -> str:
    page = await http.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    (script,) = re.findall(r'src="(/static/assets/[^"]+\.js)"', page.text)
    return str(script)


@pytest.mark.parametrize("path", ["/", "/ops"])
async def test_nothing_is_inline_but_the_styles_and_the_script_that_the_policy_names(
    http: httpx.AsyncClient, path: str
) -> None:
    page = await http.get(path)
    policy = page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-cache"
    assert "unsafe" not in policy
    assert re.findall(r"\bstyle=|\bon[a-z]+=", page.text) == []
    for element, directive in (("script", "script-src"), ("style", "style-src")):
        (inline,) = re.findall(rf"<{element}(?![^>]*\bsrc=)[^>]*>(.*?)</{element}>", page.text, re.DOTALL)
        digest = b64encode(sha256(inline.encode()).digest()).decode()
        assert f"{directive} 'self' 'sha256-{digest}';" in policy
    assert policy.count("sha256-") == 2


@pytest.mark.parametrize("encoding", ["br", "gzip", "identity"])
async def test_a_page_that_has_not_changed_is_not_sent_again(http: httpx.AsyncClient, encoding: str) -> None:
    asked = {"accept-encoding": encoding}
    page = await http.get("/", headers=asked)
    assert page.headers.get("content-encoding", "identity") == encoding
    again = await http.get("/", headers=asked | {"if-none-match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    # A browser puts the headers of a 304 in the place of those that it has.
    assert again.headers["content-security-policy"] == page.headers["content-security-policy"]
    other = await http.get("/", headers=asked | {"if-none-match": '"another"'})
    assert other.status_code == 200


async def test_files_with_a_hash_in_their_name_are_kept_for_a_year(http: httpx.AsyncClient) -> None:
    kept = await http.get(await _script(http))
    assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
    asked = await http.get("/static/icon.svg")
    assert asked.headers["cache-control"] == "no-cache"
    again = await http.get("/static/icon.svg", headers={"if-none-match": asked.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("gzip, deflate, br, zstd", "br"), ("gzip", "gzip"), ("br;q=0, gzip", "gzip"), ("identity", None), ("", None)],
)
async def test_a_browser_gets_the_best_encoding_that_it_takes(
    http: httpx.AsyncClient, accepted: str, encoding: str | None
) -> None:
    url = await _script(http)
    plain = (await http.get(url, headers={"accept-encoding": "identity"})).content
    async with http.stream("GET", url, headers={"accept-encoding": accepted}) as response:
        sent = b"".join([piece async for piece in response.aiter_raw()])
        assert response.headers.get("content-encoding") == encoding
        assert response.headers["content-type"].startswith("text/javascript")
        assert "accept-encoding" in response.headers["vary"].lower()
        assert int(response.headers["content-length"]) == len(sent)
    if encoding == "gzip":
        assert gzip.decompress(sent) == plain
    elif encoding == "br":
        assert len(sent) < len(plain) / 2
    else:
        assert sent == plain


async def test_the_encodings_have_different_etags(http: httpx.AsyncClient) -> None:
    url = await _script(http)
    etags = [(await http.head(url, headers={"accept-encoding": one})).headers["etag"] for one in ("br", "gzip", "x")]
    assert len(set(etags)) == 3


@pytest.mark.parametrize("path", ["/static/icon.svg.br", "/static/assets/", "/static/assets/nothing.js", "/static/"])
async def test_what_is_no_file_of_the_page_is_not_found(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path)).status_code == 404
