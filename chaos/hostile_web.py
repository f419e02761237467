"""A web server that wants harm: `python -m chaos.hostile_web PORT`. Whatever is fetched of it is large, and no good.

`/unclosed`: two megabytes of tags that nothing closes. `/tables`: the same of tags that close one another wrongly.
`/rubbish`: a page that is compressed, and then 64 MB of what is not. `/empty`: what is compressed to nothing, for long.
"""

import gzip
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATHS = ("/unclosed", "/tables", "/rubbish", "/empty")
_HTML_BYTES = 2 * 1024 * 1024
_RUBBISH_BYTES = 64 * 1024 * 1024
_PIECE = b"rubbish!" * 8192
_EMPTY_BLOCKS = b"\x00\x00\x00\xff\xff" * 20_000


def pieces(path: str) -> Iterator[bytes]:
    match path:
        case "/unclosed":
            yield b"<div>" * (_HTML_BYTES // 5)
        case "/tables":
            yield b"<div><table></div></table>" * (_HTML_BYTES // 26)
        case "/rubbish":
            yield gzip.compress(b"page")
            for _ in range(_RUBBISH_BYTES // len(_PIECE)):
                yield _PIECE
        case _:
            yield gzip.compress(b"")[:10]
            for _ in range(200):
                yield _EMPTY_BLOCKS


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        compressed = path in ("/rubbish", "/empty")
        self.send_response(200)
        self.send_header("content-type", "text/plain" if compressed else "text/html")
        if compressed:
            self.send_header("content-encoding", "gzip")
        self.end_headers()
        try:
            for piece in pieces(path):
                self.wfile.write(piece)
        except OSError:
            pass  # the reader had enough

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()


if __name__ == "__main__":
    main()
