"""Where and how the end of an operation is told from outside: its addresses, and the secret that signs for it alone.

Also who an outside service takes part in a conversation with: pseudonyms, one set for each service. With the ids
themselves it could take over a conversation that has no owner.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr
from sluiceway.operation.webhook_secrets import operation_secret

from tool_runner.settings import Settings

_PURPOSE = b"sluiceway pseudonym v1"
_DIGEST_CHARS = 24


@dataclass(frozen=True, slots=True)
class Callback:
    """Of one operation. `secret`: `whsec_…`, for signing its webhooks as Standard Webhooks say."""

    callback_url: str
    progress_url: str
    secret: str = field(repr=False)

    def told(self) -> dict[str, str]:
        return {"callback_url": self.callback_url, "progress_url": self.progress_url, "secret": self.secret}


class Callbacks:
    """`public_url`: of the gateway, as outside services see it. `root`: from which secrets and pseudonyms are made."""

    def __init__(self, public_url: str, root: SecretStr) -> None:
        self._operations_url = f"{public_url.rstrip('/')}/api/chat/operations"
        self._root = root.get_secret_value()

    @classmethod
    def from_settings(cls, settings: Settings) -> "Callbacks | None":
        """None where the settings do not say enough."""
        if settings.public_url is None or not settings.webhook_secrets:
            return None
        return cls(str(settings.public_url), settings.webhook_secrets[0])

    def of(self, operation_id: str) -> Callback:
        url = f"{self._operations_url}/{operation_id}"
        return Callback(f"{url}/complete", f"{url}/progress", operation_secret(self._root, operation_id))

    def pseudonyms(self, service: str, ids: Mapping[str, str]) -> dict[str, str]:
        """{kind: id} → {kind: what the service gets to know instead}; the same one each time."""
        return {kind: self._pseudonym(service, kind, one) for kind, one in ids.items()}

    def _pseudonym(self, service: str, kind: str, one: str) -> str:
        message = b"\0".join([_PURPOSE, service.encode(), kind.encode(), one.encode()])
        digest = hmac.digest(self._root.encode(), message, hashlib.sha256).hex()
        return f"{kind.removesuffix('_id')}_{digest[:_DIGEST_CHARS]}"
