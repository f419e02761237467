"""The chat page's files: how they are compressed, kept and refused."""

import gzip
import re

import httpx
import pytest

pytestmark = pytest.mark.requirement("GW-8")


async def _script(http: httpx.AsyncClient) -> str:
    page = await http.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    (script,) = re.findall(r'src="(/static/assets/[^"]+\.js)"', page.text)
    return str(script)


async def test_the_page_has_nothing_inline_and_is_asked_for_each_time(http: httpx.AsyncClient) -> None:
    page = await http.get("/")
    assert page.headers["cache-control"] == "no-cache"
    assert "unsafe" not in page.headers["content-security-policy"]
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=", page.text) == []


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
