"""`sluicewayctl doctor stream` against proxies that are set up well, that buffer, and that cut: our own, and nginx."""

import argparse
import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from gateway.ctl.client import Refused
from gateway.ctl.stream_check import check, judge, listen

from harness.databases.database import Database
from harness.processes.child import Child
from harness.processes.ports import free_port
from harness.processes.services import Service, Services, probe
from harness.proxies.bad_proxies import spoiling
from harness.waiting import wait_until
from tests.gateway.callers import add_key

_SBIN = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
_NGINX = shutil.which("nginx", path=_SBIN)
_HAPROXY = shutil.which("haproxy", path=_SBIN)
_SECONDS = 4.0
# The gateway speaks every 1.5 s in these tests.
_HEARTBEAT = "1.5"
_SERVER = "server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{gateway}; {settings} }} }}"
_GOOD = "proxy_http_version 1.1; proxy_buffering off; proxy_read_timeout 1h;"
_NGINXES = {
    "good": _GOOD,
    # Told to buffer, it passes on each chunk of a chunked answer all the same.
    "buffering": "proxy_ignore_headers X-Accel-Buffering; proxy_buffering on;",
    "cutting": "proxy_http_version 1.1; proxy_read_timeout 1s;",
    "compressing": f"{_GOOD} gzip on; gzip_types text/event-stream; gzip_min_length 0;",
}


@pytest.fixture
async def key_and_gateway(services: Services, database: Database) -> tuple[str, Service]:
    gateway = await services.gateway(HEARTBEAT_SECONDS=_HEARTBEAT)
    headers = await add_key(database, "looks", ["ops:look"])
    return headers["x-api-key"], gateway


async def _told(url: str, key: str) -> str:
    heard = await asyncio.to_thread(listen, url, key, _SECONDS)
    return " ".join(judge(heard, _SECONDS))


@pytest.mark.requirement("OP-6", "GW-3")
async def test_a_proxy_that_buffers_or_cuts_is_found_and_its_fix_is_named(
    key_and_gateway: tuple[str, Service], capsys: pytest.CaptureFixture[str]
) -> None:
    key, gateway = key_and_gateway
    port = int(urlsplit(gateway.url).port or 0)
    async with spoiling(port, holds_bytes=1 << 20) as buffering, spoiling(port, ends_behind=b": heartbeat") as cutting:
        good, late, cut = await asyncio.gather(*(_told(url, key) for url in (gateway.url, buffering, cutting)))
    assert good == ""
    assert late.startswith("Something buffers: what was sent within ")
    assert "proxy_buffering off" in late
    assert re.match(r"Something ends every answer \d s after it began", cut)
    assert "timeouts.request 0s" in cut
    asked = argparse.Namespace(url=gateway.url, seconds=2)
    assert await asyncio.to_thread(check, asked, {"SLUICEWAY_KEY": key}) == 0
    assert "ok  nothing between here and the gateway" in capsys.readouterr().out
    with pytest.raises(Refused, match="answered 401"):
        await asyncio.to_thread(listen, gateway.url, "swk_" + "w" * 43, _SECONDS)
    with pytest.raises(Refused, match="does not answer"):
        await asyncio.to_thread(listen, f"http://127.0.0.1:{free_port()}", key, _SECONDS)


@pytest.mark.requirement("OP-6")
@pytest.mark.skipif(_NGINX is None, reason="no nginx here, to be found to cut streams")
async def test_nginx_is_found_to_cut_and_to_compress_where_it_is_set_up_so(
    key_and_gateway: tuple[str, Service], tmp_path: Path
) -> None:
    key, gateway = key_and_gateway
    with _nginx(tmp_path, int(urlsplit(gateway.url).port or 0)) as urls:
        await wait_until(lambda: probe(urls["good"], "/healthz"), what="nginx listens")
        told = dict(zip(urls, await asyncio.gather(*(_told(url, key) for url in urls.values())), strict=True))
    assert told["good"] == ""
    assert told["buffering"] == ""
    assert "s of silence, and the gateway speaks every 1.5 s" in told["cutting"]
    assert "nginx: proxy_read_timeout 1h" in told["cutting"]
    assert told["compressing"].startswith("Something compresses the stream (gzip)")


@pytest.mark.requirement("OP-6")
@pytest.mark.skipif(_HAPROXY is None, reason="no haproxy here, to be found to cut streams")
async def test_haproxy_is_found_to_cut_where_its_timeouts_are_short(
    key_and_gateway: tuple[str, Service], tmp_path: Path
) -> None:
    key, gateway = key_and_gateway
    with _haproxy(tmp_path, int(urlsplit(gateway.url).port or 0)) as urls:
        await wait_until(lambda: probe(urls["good"], "/healthz"), what="haproxy listens")
        told = dict(zip(urls, await asyncio.gather(*(_told(url, key) for url in urls.values())), strict=True))
    assert told["good"] == ""
    assert "s of silence, and the gateway speaks every 1.5 s" in told["cutting"]
    assert "HAProxy: timeout server 1h; timeout client 1h" in told["cutting"]
    # Unlike nginx it heeds `no-transform`.
    assert told["compressing"] == ""


@contextmanager
def _haproxy(directory: Path, gateway: int) -> Iterator[dict[str, str]]:
    """One with a place to listen for each of these settings; their addresses."""
    settings = {
        "good": "timeout server 1h",
        "cutting": "timeout server 1s",
        "compressing": "timeout server 1h\n  compression algo gzip\n  compression type text/event-stream",
    }
    ports = {name: free_port() for name in settings}
    places = [
        f"listen {name}\n  bind 127.0.0.1:{ports[name]}\n  {told}\n  server gateway 127.0.0.1:{gateway}"
        for name, told in settings.items()
    ]
    defaults = "defaults\n  mode http\n  timeout connect 5s\n  timeout client 1h"
    configuration = directory / "haproxy.cfg"
    configuration.write_text("\n".join(["global", defaults, *places]) + "\n")
    child = Child("haproxy", [str(_HAPROXY), "-db", "-f", str(configuration)], directory / "haproxy.log")
    child.start(environment=dict(os.environ), directory=directory)
    try:
        yield {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    finally:
        child.end()


@contextmanager
def _nginx(directory: Path, gateway: int) -> Iterator[dict[str, str]]:
    """One with a server for each of these settings; their addresses."""
    ports = {name: free_port() for name in _NGINXES}
    servers = [_SERVER.format(port=ports[name], gateway=gateway, settings=_NGINXES[name]) for name in _NGINXES]
    paths = " ".join(
        f"{name}_temp_path {directory}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = directory / "nginx.conf"
    configuration.write_text(
        f"daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {paths}\n" + "\n".join(servers) + "\n}\n"
    )
    subprocess.run([str(_NGINX), "-t", "-c", str(configuration)], check=True, capture_output=True)
    child = Child("nginx", [str(_NGINX), "-c", str(configuration)], directory / "nginx.log")
    child.start(environment={}, directory=directory)
    try:
        yield {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    finally:
        child.end()
