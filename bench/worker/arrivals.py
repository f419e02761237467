"""Watches task streams and measures how old each token is when a reader has it: `python -m bench.worker.arrivals`.

Reads `{"port", "keys", "seconds"}` from its standard input, one line of JSON. The tokens carry the time at which the
model sent them (the tag `clock` of the fake model server). Prints a line when it watches, and one with what it saw.

The reader is told of changes by `CLIENT TRACKING`, reads all changed streams in one XREAD, and takes the time when it
has the reply: later than the entry's arrival in Redis by its own round trip, so what is printed is an upper bound.
"""

import json
import re
import socket
import sys
import time
from typing import Any

import hiredis

_CLOCK = re.compile(rb"(\d+\.\d{9}) ")
_PREFIX = "sw:task:"


class Arrivals:
    def __init__(self, port: int, keys: list[str]) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()
        self._dirty: set[bytes] = set()
        self._cursors: dict[bytes, bytes] = {}
        self._awaiting = 0
        self.delays: list[float] = []
        self.entries = 0
        self._send(b"HELLO", b"3")
        self._send(b"CLIENT", b"TRACKING", b"ON", b"BCAST", b"PREFIX", _PREFIX.encode())
        self._drain()
        self._start_at_the_end([key.encode() for key in keys])

    def watch(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self._socket.settimeout(0.5)
        while time.monotonic() < end:
            if self._dirty and not self._awaiting:
                self._read_dirty()
            for streams in self._receive():
                self._take(streams or {}, time.monotonic())

    def _start_at_the_end(self, keys: list[bytes]) -> None:
        for key in keys:
            self._send(b"XREVRANGE", key, b"+", b"-", b"COUNT", b"1")
        for key, last in zip(keys, self._drain(), strict=True):
            self._cursors[key] = last[0][0] if last else b"0-0"

    def _read_dirty(self) -> None:
        keys = list(self._dirty)
        self._dirty.clear()
        self._send(b"XREAD", b"STREAMS", *keys, *(self._cursors[key] for key in keys))

    def _receive(self) -> list[Any]:
        try:
            self._reader.feed(self._socket.recv(1 << 20))
        except TimeoutError:
            return []
        replies = []
        while (reply := self._reader.gets()) is not False:
            if isinstance(reply, hiredis.PushNotification):
                self._dirty.update(key for key in reply[1] or () if key in self._cursors)
            else:
                self._awaiting -= 1
                replies.append(reply)
        return replies

    def _take(self, streams: dict[bytes, list[Any]], now: float) -> None:
        for key, entries in streams.items():
            self._cursors[key] = entries[-1][0]
            self.entries += len(entries)
            for _, fields in entries:
                self.delays += [now - float(sent) for sent in _CLOCK.findall(fields[3])]

    def _drain(self) -> list[Any]:
        replies: list[Any] = []
        while self._awaiting:
            replies += self._receive()
        return replies

    def _send(self, *arguments: bytes) -> None:
        parts = [b"*%d\r\n" % len(arguments)]
        parts += [b"$%d\r\n%s\r\n" % (len(argument), argument) for argument in arguments]
        self._socket.sendall(b"".join(parts))
        self._awaiting += 1


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    arrivals = Arrivals(asked["port"], asked["keys"])
    print("watching", flush=True)
    arrivals.watch(asked["seconds"])
    delays = sorted(arrivals.delays)
    seen: dict[str, float] = {"tokens": len(delays), "entries": arrivals.entries}
    for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
        seen[f"{name}_ms"] = 1000 * delays[min(int(share * len(delays)), len(delays) - 1)] if delays else 0.0
    print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()
