"""Heads that can be read in two ways: what stands before this service may have read them in the other one."""

from collections.abc import Sequence

# Of each a request has one at most.
_ONCE = frozenset(
    {
        b"host",
        b"origin",
        b"sec-fetch-site",
        b"authorization",
        b"x-api-key",
        b"content-type",
        b"content-length",
        b"transfer-encoding",
    }
)


class HeadAmbiguous(Exception):
    """Raised through the parser, which stops at it."""


def refuse_ambiguous(url: bytes, headers: Sequence[tuple[bytes, bytes]], http_version: str) -> None:
    """Raises HeadAmbiguous. A URL may be whole (RFC 9112, 3.2.2): then it names the host, too. Bodies may be chunked,
    and nothing else is done to them (6.1); before HTTP/1.1 there were no chunks."""
    once = [name for name, _ in headers if name in _ONCE]
    if len(once) != len(set(once)):
        raise HeadAmbiguous
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if codings and (codings != [b"chunked"] or http_version != "1.1"):
        raise HeadAmbiguous
    if not url.startswith((b"/", b"*")):
        authority = url.partition(b"://")[2].partition(b"/")[0]
        if (b"host", authority) not in headers:
            raise HeadAmbiguous
