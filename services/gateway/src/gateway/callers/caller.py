"""Who calls, and what a key of his may do.

`user_id` is who owns what he makes: a user by the claim of his token, an anonymous person by his cookie (`anon:…`), a
service by the name of its key (`service:…`). One who came as a user of an organisation is `org:ORG:USER`, and a key of
one `org:ORG:service:…`: as one of another he is somebody else here. No token may name a user with such a prefix. None
is the one person of a gateway that serves one machine alone (`AUTH=none`).
"""

from dataclasses import dataclass
from typing import Literal, get_args

from sluiceway.ids import ANONYMOUS_PREFIX, ORG_PREFIX, org_of

Kind = Literal["local", "user", "anonymous", "service", "nobody"]
# What an API key may do: send webhooks, have turns of its own, read what is anybody's, look into the system, act on it.
KeyScope = Literal["webhooks", "turns", "read", "ops:look", "ops:act"]
SCOPES: tuple[KeyScope, ...] = get_args(KeyScope)

KEY_HEADER = "x-api-key"
SERVICE_PREFIX = "service:"
# Who shows one of the keys of the setting API_KEYS.
SETTINGS_KEY = f"{SERVICE_PREFIX}settings"
RESERVED_PREFIXES = (ANONYMOUS_PREFIX, SERVICE_PREFIX, ORG_PREFIX)


@dataclass(frozen=True, slots=True)
class Caller:
    """`anonymous_id`: who a user was before he signed in, where his browser still knows it. `expires_at`: when his
    token ends, and with it every stream that it opened; seconds since 1970. `cookie`: to be set, as he is new here.
    `address`: from where he calls, where that is known. `by_cookie`: a user whose browser signed in."""

    user_id: str | None
    kind: Kind
    scopes: frozenset[KeyScope] = frozenset()
    anonymous_id: str | None = None
    expires_at: float | None = None
    roles: frozenset[str] = frozenset()
    cookie: str | None = None
    address: str | None = None
    by_cookie: bool = False

    @property
    def org(self) -> str:
        """His organisation; "" where he is in none."""
        return org_of(self.user_id)

    @property
    def counted_as(self) -> str:
        """Whose share it is of what each caller has one of. Those who are nobody have one for each address."""
        return self.user_id or self.address or ""

    @property
    def trusted(self) -> bool:
        """A program, by its API key. What it may do is in its scopes."""
        return self.kind == "service"

    @property
    def reads_all(self) -> bool:
        return "read" in self.scopes


LOCAL = Caller(None, "local")
# Of a route that asks for nobody.
NOBODY = Caller(None, "nobody")
