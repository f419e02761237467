"""`sluicewayctl doctor stream URL`: what stands between a client and a gateway, and which of its settings is wrong.

It reads `/api/chat/stream-probe` through that address, as a browser would read an answer, and looks at when what came:
a proxy that buffers lets late what was sent early; one that cuts ends it before `done`.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import httpx

from gateway.callers.caller import KEY_HEADER
from gateway.ctl.client import Refused

_LUMPED = 0.4
"""Ticks that came within so much of the time in which they were sent have waited for each other."""
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 5.0


@dataclass(slots=True)
class Heard:
    """What came of a probe, and when, in seconds since the first byte. `ticks`: (sent, came). `ended`: None where
    `done` came; else how it ended."""

    headers: Mapping[str, str]
    asked: float
    first_byte: float = 0.0
    ticks: list[tuple[float, float]] = field(default_factory=list)
    heartbeats: int = 0
    heartbeat_seconds: float = 0.0
    last_byte: float = 0.0
    ended: str | None = "it ended without `done`"
    ended_at: float = 0.0


def add_to(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", choices=["stream"], help="a stream through proxies, by its address")
    parser.add_argument("url", nargs="?", help="as browsers reach the gateway, such as https://chat.example.com")
    parser.add_argument("--seconds", type=float, default=35, help="how long; a proxy may cut after a minute")


def check(asked: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """0 where nothing is wrong."""
    if not asked.url:
        raise Refused("which address? Say it as browsers reach the gateway: `doctor stream https://chat.example.com`")
    heard = listen(asked.url.rstrip("/"), environment.get("SLUICEWAY_KEY", ""), asked.seconds)
    problems = list(judge(heard, asked.seconds))
    print(f"first byte after {heard.asked:.1f} s, {len(heard.ticks)} ticks, {heard.heartbeats} heartbeats, ", end="")
    print(f"{heard.ended} after {heard.ended_at:.1f} s" if heard.ended else f"whole after {heard.ended_at:.1f} s")
    for problem in problems:
        print(f"NO  {problem}")
    if not problems:
        print("ok  nothing between here and the gateway holds up or cuts a stream")
    return 1 if problems else 0


def listen(url: str, key: str, seconds: float) -> Heard:
    """Raises Refused."""
    began = time.monotonic()
    timeout = httpx.Timeout(seconds + _READ_SECONDS, connect=_CONNECT_SECONDS)
    try:
        with (
            httpx.Client(headers={KEY_HEADER: key}, timeout=timeout) as http,
            http.stream("GET", f"{url}/api/chat/stream-probe", params={"seconds": seconds}) as response,
        ):
            if response.status_code != 200:
                response.read()
                told = "is it a gateway of this version?" if response.status_code == 404 else response.text[:300]
                raise Refused(f"{url} answered {response.status_code}: {told}")
            return _heard(response, began)
    except httpx.ConnectError as error:
        raise Refused(f"{url} does not answer: {error}") from None
    except httpx.ReadTimeout:
        raise Refused(
            f"{url} said nothing at all until the stream was over: something keeps the whole answer"
        ) from None
    except httpx.HTTPError as error:
        raise Refused(f"{url} broke off before its answer began: {type(error).__name__}") from None


def _heard(response: httpx.Response, began: float) -> Heard:
    heard = Heard(response.headers, 0.0)
    rest = ""
    try:
        for text in response.iter_text():
            now = time.monotonic()
            if not heard.first_byte:
                heard.first_byte, heard.asked = now, now - began
            heard.last_byte = now - heard.first_byte
            *blocks, rest = (rest + text).split("\n\n")
            for block in blocks:
                _take(heard, block)
    except httpx.HTTPError as error:
        heard.ended = f"broken ({type(error).__name__})" if heard.ended else None
    heard.ended_at = time.monotonic() - (heard.first_byte or began)
    return heard


def _take(heard: Heard, block: str) -> None:
    if block.startswith(":"):
        heard.heartbeats += 1
        return
    data = next((line[6:] for line in block.splitlines() if line.startswith("data: ")), "{}")
    told = json.loads(data)
    if "event: done" in block:
        heard.ended = None
    elif "tick" in told:
        heard.ticks.append((told["at_ms"] / 1000, heard.last_byte))
        heard.heartbeat_seconds = told["heartbeat_seconds"]


def judge(heard: Heard, seconds: float) -> Iterator[str]:
    """What is wrong, a sentence each, with what to change."""
    coding = heard.headers.get("content-encoding")
    if coding is not None:
        yield (
            f"Something compresses the stream ({coding}), and keeps what it has not filled a block with: leave"
            f" text/event-stream out. {_of(heard, 'gzip off;', 'no `compression type` for text/event-stream')}"
        )
    if not heard.headers.get("content-type", "").startswith("text/event-stream"):
        yield f"The answer is {heard.headers.get('content-type')}, and not a stream: what answers there is no gateway."
    elif not heard.ticks or _lumped(heard.ticks) or heard.asked > seconds / 2:
        yield (
            f"Something buffers: what was sent within {_span(heard.ticks, 0):.1f} s came within"
            f" {_span(heard.ticks, 1):.1f} s, {heard.asked:.1f} s after it was asked for. "
            + _of(
                heard,
                "proxy_buffering off; proxy_http_version 1.1; and no proxy_ignore_headers X-Accel-Buffering",
                "no `option http-buffer-request`, no cache and no compression for this path",
            )
        )
    if heard.ended is not None:
        yield _cut(heard)


def _cut(heard: Heard) -> str:
    at, beat = heard.ended_at, heard.heartbeat_seconds
    silent = at - heard.last_byte
    if beat and silent < 0.9 * beat and heard.heartbeats:
        return (
            f"Something ends every answer {at:.0f} s after it began, however much is said: a limit for whole requests. "
            + _of(heard, "look at what stands before it", "timeout server / timeout client 1h; timeout tunnel 1h")
            + "; Envoy and the Gateway API: timeouts.request 0s; a load balancer of a cloud: its request timeout"
        )
    return (
        f"Something cut the stream after {silent:.1f} s of silence, and the gateway speaks every {beat:g} s"
        " (HEARTBEAT_SECONDS): its idle timeout is too short. "
        + _of(heard, "proxy_read_timeout 1h; proxy_send_timeout 1h", "timeout server 1h; timeout client 1h")
        + "; Envoy: stream_idle_timeout; a load balancer of a cloud: its idle timeout"
    )


def _of(heard: Heard, nginx: str, haproxy: str) -> str:
    """The fix, of the proxy that names itself first."""
    fixes = [f"nginx: {nginx}", f"HAProxy: {haproxy}"]
    return "; ".join(fixes if "nginx" in heard.headers.get("server", "nginx") else reversed(fixes))


def _lumped(ticks: Sequence[tuple[float, float]]) -> bool:
    return _span(ticks, 1) < _LUMPED * _span(ticks, 0)


def _span(ticks: Sequence[tuple[float, float]], which: int) -> float:
    return ticks[-1][which] - ticks[0][which] if ticks else 0.0
