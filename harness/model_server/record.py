"""What the server remembers of each request, for tests to look at."""

import time
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Record:
    """One request, on the connection of this number. Times are `time.monotonic()`; None is: not yet, or never."""

    number: int
    connection: int
    path: str
    headers: dict[str, str]
    body: Any
    began_at: float = field(default_factory=time.monotonic)
    first_token_at: float | None = None
    tokens_sent: int = 0
    finished_at: float | None = None
    client_closed_at: float | None = None
    """When the client closed the connection before the response was whole."""

    def token_sent(self) -> None:
        self.tokens_sent += 1
        if self.first_token_at is None:
            self.first_token_at = time.monotonic()

    def finished(self) -> None:
        self.finished_at = time.monotonic()

    def client_closed(self) -> None:
        if self.finished_at is None and self.client_closed_at is None:
            self.client_closed_at = time.monotonic()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
