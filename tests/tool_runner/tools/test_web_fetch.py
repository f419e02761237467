"""A model may have public pages fetched, and nothing else, whatever addresses, names and servers do."""

import asyncio
import gzip
import ipaddress
import json
import socket
import zlib
from ast import literal_eval
from pathlib import Path
from typing import Any

import psutil
import pytest
from sluiceway.process import confined
from tool_runner.tools.web.addresses import AddressRefused, Guard, NameUnknown, is_public, resolve
from tool_runner.tools.web.client import FetchFailed, Page, WebClient
from tool_runner.tools.web.html_reader import HtmlNotRead, HtmlReaders
from tool_runner.tools.web_fetch import _known

from harness.processes.services import Services
from tests.tool_runner.operations import Caller
from tests.tool_runner.tiny_server import Request, answering, response, serving

LOOPBACK = ("127.0.0.1/32",)
PUBLIC = ["8.8.8.8", "93.184.215.14", "172.15.0.1", "172.32.0.1", "192.169.0.1", "2606:4700::1111", "::ffff:8.8.8.8"]
PUBLIC += ["2002:0808:0808::1", "64:ff9b::8.8.8.8"]
NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.8.8.8",
]
NOT_PUBLIC += [
    "169.254.0.1",
    "169.254.169.254",
    "168.63.129.16",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
]
NOT_PUBLIC += ["192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1"]
NOT_PUBLIC += [
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
]
NOT_PUBLIC += ["::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1"]
NOT_PUBLIC += [
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:db8::1",
    "2001:10::1",
]
NOT_PUBLIC += ["2001:20::1", "2002:7f00:1::1", "2002:0a00:1::1", "2002:a9fe:a9fe::1", "3fff::1", "5f00::1", "fc00::1"]
NOT_PUBLIC += ["fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1"]


def client(*allowed: str, seconds: float = 5, max_bytes: int = 100_000, guard: Guard | None = None) -> WebClient:
    return WebClient(guard or Guard(allowed or LOOPBACK), seconds=seconds, max_bytes=max_bytes)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_no_other_address_is_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


SPELLED = ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"]
SPELLED += ["0", "127.0.0.1.", "\uff11\uff12\uff17.0.0.1", "169.254.169.254", "[fd00:ec2::254]", "[fe80::1]"]


NO_ADDRESS = ["file:///etc/passwd", "ftp://example.com/", "gopher://example.com/", "unix:/x", "http://", "//x", "x"]
NO_ADDRESS += ["http://[::1", "http://user:pw@example.com/", "http://a@127.0.0.1/", "http://example.com:99999/"]
NO_ADDRESS += ["http:///x", "javascript:1", ""]


@pytest.mark.requirement("SE-4")
@pytest.mark.parametrize("host", SPELLED)
async def test_however_it_is_spelled_a_private_address_is_refused(host: str) -> None:
    async with serving(answering("secret"), "0.0.0.0") as server:
        with pytest.raises((AddressRefused, NameUnknown, FetchFailed)):
            await client("203.0.113.0/24").fetch(f"http://{host}:{server.port}/")
        assert server.requests == []


@pytest.mark.parametrize("url", NO_ADDRESS)
async def test_what_is_no_plain_web_address_is_refused(url: str) -> None:
    with pytest.raises(FetchFailed):
        await client().fetch(url)


async def answer_of(*addresses: str) -> list[str]:
    async def resolve(_: str, __: int) -> list[str]:
        return list(addresses)

    return await Guard(resolve=resolve).addresses("name.test", 443)


async def test_one_private_address_among_public_ones_is_one_too_many() -> None:
    assert await answer_of("8.8.8.8", "2606:4700::1111") == ["8.8.8.8", "2606:4700::1111"]
    with pytest.raises(AddressRefused):
        await answer_of("8.8.8.8", "10.0.0.1")
    with pytest.raises(AddressRefused):
        await answer_of("fe80::1%eth0")
    with pytest.raises(NameUnknown):
        await answer_of()


async def test_other_ports_of_public_hosts_are_refused() -> None:
    async def resolve(_: str, __: int) -> list[str]:
        return ["8.8.8.8"]

    guard = Guard(resolve=resolve)
    assert await guard.addresses("name.test", 80) == ["8.8.8.8"]
    for port in (22, 25, 6379, 8080):
        with pytest.raises(AddressRefused):
            await guard.addresses("name.test", port)


async def test_a_name_that_changes_its_address_reaches_what_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver says one thing when it is looked at, and another one whenever it is asked again."""
    said: list[str] = []

    def rebinding(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        said.append("127.0.0.1" if not said else "127.0.0.2")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (said[-1], port))]

    async with serving(answering("looked at")) as good, serving(answering("secret"), "127.0.0.2", good.port) as bad:
        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        page = await client().fetch(f"http://rebinding.test:{good.port}/")
        assert page.body == b"looked at"
        assert said == ["127.0.0.1"]
        assert good.requests[0].headers["host"] == f"rebinding.test:{good.port}"
        with pytest.raises(AddressRefused):
            await client().fetch(f"http://rebinding.test:{good.port}/")
        assert bad.requests == []


async def test_a_redirect_to_a_private_address_is_refused() -> None:
    async with (
        serving(answering("secret"), "127.0.0.2") as inside,
        serving(answering("", 302, location=f"http://127.0.0.2:{inside.port}/")) as outside,
    ):
        with pytest.raises(AddressRefused):
            await client().fetch(outside.url())
        assert inside.requests == []


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "http://[::1]:1/", "ftp://127.0.0.1/", "http://u:p@127.0.0.1/"]
)
async def test_a_redirect_is_looked_at_like_the_first_address(location: str) -> None:
    async with serving(answering("", 302, location=location)) as server:
        with pytest.raises((FetchFailed, AddressRefused)):
            await client().fetch(server.url())


async def test_redirects_are_followed_up_to_five_times() -> None:
    async def count_down(request: Request, writer: asyncio.StreamWriter) -> None:
        left = int(request.target.strip("/"))
        writer.write(response("", 302, location=f"/{left - 1}") if left else response("there"))

    async with serving(count_down) as server:
        page = await client().fetch(server.url("/5"))
        assert (page.body, page.url) == (b"there", server.url("/0"))
        with pytest.raises(FetchFailed, match="more than 5 times"):
            await client().fetch(server.url("/6"))


async def cut_off(answer: Any, **limits: Any) -> Page:
    async with serving(answer) as server:
        page = await client(**limits).fetch(server.url())
    assert page.truncated
    return page


async def test_an_endless_body_is_cut_off() -> None:
    async def endless(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    assert (await cut_off(endless, max_bytes=50_000)).body == b"x" * 50_000


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compressed_bomb_is_cut_off(encoding: str) -> None:
    bomb = b"0" * 100_000_000
    packed = gzip.compress(bomb) if encoding == "gzip" else zlib.compress(bomb)
    page = await cut_off(answering(packed, content_encoding=encoding), max_bytes=50_000)
    assert len(page.body) == 50_000


async def test_a_slow_body_is_given_up() -> None:
    async def slow(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with serving(slow) as server:
        with pytest.raises(FetchFailed, match="did not come"):
            await client(seconds=0.5).fetch(server.url())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (answering(b"\x89PNG", content_type="image/png"), "image/png"),
        (answering("x", content_type="application/octet-stream"), "octet-stream"),
        (answering(b"x", content_encoding="br"), "compressed"),
        (answering(b"no gzip", content_encoding="gzip"), "broken"),
    ],
    ids=["image", "binary", "brotli", "broken-gzip"],
)
async def test_what_cannot_be_read_is_said(answer: Any, reason: str) -> None:
    async with serving(answer) as server:
        with pytest.raises(FetchFailed, match=reason):
            await client().fetch(server.url())


async def test_a_server_that_speaks_no_http_is_said() -> None:
    async def garbage(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")

    async with serving(garbage) as server:
        with pytest.raises(FetchFailed, match="does not speak HTTP"):
            await client().fetch(server.url())
    with pytest.raises(FetchFailed, match="cannot be reached"):
        await client().fetch(server.url())


async def test_no_proxy_no_cookie_and_no_secret_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.9:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.9:1")
    async with serving(answering("fine", set_cookie="a=b")) as server:
        for _ in range(2):
            await client().fetch(server.url("/page?x=1#part"))
    assert server.requests[1].target == "/page?x=1"
    assert server.requests[1].headers.keys() <= {"host", "user-agent", "accept", "accept-encoding", "connection", ""}


async def read_html(html: str, url: str) -> tuple[str | None, str]:
    return await HtmlReaders().read(html.encode(), "utf-8", url, 1000)


async def test_html_becomes_a_text_that_reads_well() -> None:
    html = """<html><head><title> A
        page </title><style>p{}</style></head><body><nav>Menu</nav><main><h2>Head</h2>
        <p>One <a href="/two">t<b>w</b>o</a>&nbsp;&amp; three</p><ul><li>a</li><li>b</li></ul>
        <p hidden>secret</p><script>alert(1)</script></main></body></html>"""
    title, text = await read_html(html, "http://example.com/one")
    assert title == "A page"
    assert text.split("\n\n")[:2] == ["## Head", "One [two](http://example.com/two) & three"]
    assert "- a\n- b" in text.replace("\n\n", "\n")
    for absent in ("Menu", "secret", "alert", "p{}"):
        assert absent not in text


DENSE = 2_000_000


@pytest.mark.parametrize(
    "piece",
    [
        "<div>",
        "<p><b>",
        "<p><b id=1><i id=2>",
        "<font size=1>",
        "<li><p>",
        "<div><table></div></table>",
        "<x-y>",
        "<svg>",
    ],
)
async def test_two_megabytes_of_unclosed_tags_are_read_in_seconds(piece: str) -> None:
    # What of it is shown depends on how the last tags are nested; that it is shown, and when, does not.
    _, text = await read_html("beginning" + piece * (DENSE // len(piece)), "http://example.com/")
    assert text.startswith("beginning")


async def test_a_page_that_takes_too_long_is_not_read_and_leaves_no_process_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tool_runner.tools.web.html_reader.READ_SECONDS", 0.01)
    with pytest.raises(HtmlNotRead):
        await read_html("<div>" * 150_000 + "deep", "http://example.com/")
    assert not [child for child in psutil.Process().children() if "html_child.py" in " ".join(child.cmdline())]


HOSTILE_PARSER = """
import os, socket, sys

def warm_up():
    pass

def read_html(html, url, max_chars):
    tried = {}
    for name, attempt in ATTEMPTS.items():
        try:
            tried[name] = str(attempt())
        except BaseException as error:
            tried[name] = type(error).__name__
    return None, repr((tried, dict(os.environ)))

ATTEMPTS = {
    "file": lambda: open("/etc/passwd").read(),
    "parent": lambda: open(f"/proc/{os.getppid()}/environ").read(),
    "socket": lambda: socket.create_connection(("127.0.0.1", 80)),
    "memory": lambda: len(bytearray(1 << 30)),
}
"""


async def test_a_reader_that_a_page_has_taken_over_can_open_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = tmp_path / "tool_runner" / "tools" / "web" / "html_text.py"
    module.parent.mkdir(parents=True)
    module.write_text(HOSTILE_PARSER)
    place_of = confined._place_of
    hostile = {"tool_runner": str(tmp_path)}
    monkeypatch.setattr(confined, "_place_of", lambda module: hostile.get(module) or place_of(module))
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    _, told = await read_html("<p>", "http://example.com/")
    tried, environment = literal_eval(told)
    assert tried.keys() == {"file", "parent", "socket", "memory"}
    assert tried["file"] == tried["parent"] == tried["socket"] == "OSError"
    assert tried["memory"] == "MemoryError"
    assert environment.keys() <= {"LC_CTYPE"}


async def test_what_follows_the_end_of_what_was_compressed_is_not_read() -> None:
    async def answer(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-encoding: gzip\r\n\r\n")
        writer.write(gzip.compress(b"page"))
        while True:
            writer.write(b"rubbish" * 1000)
            await writer.drain()

    async with serving(answer) as server:
        page = await client().fetch(server.url())
    assert (page.body, page.truncated) == (b"page", False)


@pytest.mark.parametrize(
    "charset", ["punycode", "idna", "unicode_escape", "utf-7", "rot13", "zlib", "none", "\x00", None]
)
def test_codecs_that_are_no_charset_of_the_web_are_not_used(charset: str | None) -> None:
    assert _known(charset) == "utf-8"
    assert [_known(one) for one in ("latin-1", "shift_jis", "koi8-r")] == ["iso8859-1", "shift_jis", "koi8-r"]


async def test_what_is_compressed_to_nothing_for_ever_is_cut_off() -> None:
    async def answer(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-encoding: gzip\r\n\r\n")
        writer.write(gzip.compress(b"")[:10])
        for _each in range(100):
            writer.write(b"\x00\x00\x00\xff\xff" * 20_000)  # empty blocks
            await writer.drain()

    async with serving(answer) as server:
        page = await client().fetch(server.url())
    assert page.truncated


async def test_the_tool_answers_pages_and_says_what_it_refuses(services: Services, caller: Caller) -> None:
    await services.tool_runner(WEB_FETCH_ALLOW_PRIVATE='["127.0.0.1/32"]')
    page = "<title>Hi</title><p>" + "word " * 100
    async with serving(answering(page, 404, content_type="text/html")) as server:
        told = await caller.ask("web_fetch", url=server.url("/x"), max_chars=100)
    assert told["title"] == "Hi"
    assert (told["status"], told["truncated"], len(told["text"])) == (404, True, 100)
    async with serving(answering(json.dumps({"a": 1}), content_type="application/json")) as server:
        assert (await caller.ask("web_fetch", url=server.url()))["text"] == '{"a": 1}'
    refused = await caller.call("web_fetch", url="http://169.254.169.254/latest/meta-data/")
    assert await caller.failure(refused) == "ADDRESS_REFUSED"
    assert await caller.failure(await caller.call("web_fetch", url="file:///etc/passwd")) == "FETCH_FAILED"
    assert set(await caller.ask("current_time", timezone="Europe/Berlin")) >= {"iso", "weekday", "utc_offset"}
    for zone in ("Mars/Base", "../../etc/passwd", "Europe"):
        assert await caller.failure(await caller.call("current_time", timezone=zone)) == "INVALID_ARGUMENTS"


async def test_the_systems_resolver_is_asked_once_for_all_addresses() -> None:
    assert "127.0.0.1" in await resolve("localhost", 80)
