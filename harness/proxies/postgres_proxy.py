"""A proxy for the Postgres wire protocol that cuts a connection exactly where a commit is.

What is durable at a commit is told by the statements of its transaction, so a cut is ordered by a regular expression:
the next commit of a transaction that contains such a statement never reaches the server, or is executed and its answer
is lost. A statement outside of a transaction commits by itself, and is cut in the same two ways.

It reads what asyncpg sends without TLS: simple queries for BEGIN and COMMIT, named prepared statements for the rest.
Source: PostgreSQL's documentation, "Frontend/Backend Protocol", message formats.
"""

import re
import struct
from collections.abc import Iterator

from harness.proxies.proxy import Fate, Hook, Proxy

_TLS_REQUEST = 80877103


class Cut:
    """An order to cut one commit. `done`: it happened."""

    def __init__(self, statement: str, fate: Fate) -> None:
        self.statement = re.compile(statement, re.DOTALL)
        self.fate = fate
        self.done = False

    def __repr__(self) -> str:
        return f"{self.fate} {self.statement.pattern!r}: {'done' if self.done else 'not yet'}"


class PostgresProxy(Proxy):
    """`connections` and `reset_all` are the plain proxy's; so is `hold`."""

    def __init__(self, target_port: int) -> None:
        super().__init__(target_port)
        self._cuts: list[Cut] = []

    def cut(self, statement: str, fate: Fate) -> Cut:
        """Cut the next commit of a transaction, on any connection, in which this expression is found in a statement."""
        ordered = Cut(statement, fate)
        self._cuts.append(ordered)
        return ordered

    def forget_cuts(self) -> None:
        self._cuts.clear()

    def judge(self) -> Hook:
        return _Conversation(self).hear

    def fate_of(self, committed: list[str]) -> Fate:
        """What becomes of the commit of these statements."""
        for cut in self._cuts:
            if any(cut.statement.search(statement) for statement in committed):
                self._cuts.remove(cut)
                cut.done = True
                return cut.fate
        return "pass"


class _Conversation:
    """What one client says: it knows the statements that were prepared, and those of the transaction that is open."""

    def __init__(self, proxy: PostgresProxy) -> None:
        self._proxy = proxy
        self._unread = b""
        self._greeted = False
        self._prepared: dict[bytes, str] = {}
        self._transaction: list[str] | None = None

    def hear(self, data: bytes) -> Fate:
        self._unread += data
        fates = [fate for fate in map(self._read, self._messages()) if fate != "pass"]
        return fates[0] if fates else "pass"

    def _messages(self) -> Iterator[tuple[bytes, bytes]]:
        """(type, body) of each whole message. The first ones of a connection have no type."""
        while True:
            header = 1 if self._greeted else 0
            if len(self._unread) < header + 4:
                return
            (length,) = struct.unpack_from("!i", self._unread, header)
            end = header + length
            if len(self._unread) < end:
                return
            kind, body = self._unread[:header], self._unread[header + 4 : end]
            self._unread = self._unread[end:]
            self._greeted = self._greeted or struct.unpack_from("!i", body)[0] != _TLS_REQUEST
            yield kind, body

    def _read(self, message: tuple[bytes, bytes]) -> Fate:
        kind, body = message
        match kind:
            case b"Q":
                return self._simple(body[:-1].decode())
            case b"P":
                name, statement, _ = body.split(b"\0", 2)
                self._prepared[name] = statement.decode()
            case b"B":
                name = body.split(b"\0", 2)[1]
                return self._execute(self._prepared.get(name, ""))
        return "pass"

    def _simple(self, statement: str) -> Fate:
        word = statement.strip(" ;").upper()
        if word.startswith("BEGIN"):
            self._transaction = []
        elif word in ("COMMIT", "ROLLBACK"):
            statements, self._transaction = self._transaction or [], None
            return self._proxy.fate_of(statements) if word == "COMMIT" else "pass"
        else:
            return self._execute(statement)
        return "pass"

    def _execute(self, statement: str) -> Fate:
        if self._transaction is None:
            return self._proxy.fate_of([statement])
        self._transaction.append(statement)
        return "pass"
