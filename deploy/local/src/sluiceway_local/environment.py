"""What the services are told in their environment.

What ties the processes together is decided here. The rest are defaults: what the person's own environment says stands.
A secret is told to those alone that need it; it is made once, and kept in the folder, readable by its owner only.
"""

import ipaddress
import json
import os
from collections.abc import Mapping
from pathlib import Path

from sluiceway_local import data_dir, model
from sluiceway_local.settings import Settings

DRAIN_SECONDS = 2  # what is not finished by then is released; the whole stack ends within 5 s
TOOLS_DRAIN_SECONDS = 1  # a tool that is cut off then has another second to clean up

_WHO_MAY_CALL = ("AUTH", "JWT_SECRET", "OIDC_ISSUER", "JWKS_URL", "SESSION_SECRETS")

# Where examples/outside_service.py listens, unless it is told otherwise.
EXAMPLE_OPERATIONS = {"example": "http://127.0.0.1:9100/operations"}


# Of the page where nothing was asked yet: the tools that need no model of a size, each as a message calls it.
SUGGESTIONS = (
    "What is a sluice gate?",
    "/current_time Europe/Berlin",
    "/generate_document a short text about rivers",
    "/run_agents a name for a shop that sells bread",
)


def of_every_service(
    settings: Settings, folder: Path, redis_url: str, database_url: str, model_port: int
) -> dict[str, str]:
    common = {"REDIS_URL": redis_url, "DATABASE_URL": database_url, "DRAIN_SECONDS": str(DRAIN_SECONDS)}
    common |= _unless_told(LOG_FORMAT="console", FILES_URL=f"file:{folder / 'files'}")
    if settings.own_model:
        common |= model.address(model_port) | _unless_told(**model.LIMITS)
    if settings.openai_api_key is None:
        common["OPENAI_API_KEY"] = "none"  # the client wants one, a local server does not
    return common


def of_gateway(folder: Path, host: str) -> Mapping[str, str]:
    """On loopback everybody is one person. Where others can reach it, each browser is a person of its own, unless the
    person's environment says who may call."""
    own = _unless_told(
        WEBHOOK_SECRETS=json.dumps([_webhook_secret(folder)]),
        API_KEYS=json.dumps([data_dir.secret(folder / "api.key")]),
        SUGGESTIONS=json.dumps(SUGGESTIONS),
    )
    if not _is_loopback(host) and not any(os.environ.get(name) for name in _WHO_MAY_CALL):
        # The port is plain http.
        own |= _unless_told(COOKIE_SECURE="false") | {
            "SESSION_SECRETS": json.dumps([data_dir.secret(folder / "session.secret")])
        }
    return own


def of_tool_runner(folder: Path, gateway_url: str) -> Mapping[str, str]:
    """One tool wants approval, so that a person can see what that is like."""
    return {"DRAIN_SECONDS": str(TOOLS_DRAIN_SECONDS)} | _unless_told(
        PUBLIC_URL=gateway_url,
        WEBHOOK_SECRETS=json.dumps([_webhook_secret(folder)]),
        HTTP_OPERATIONS=json.dumps(EXAMPLE_OPERATIONS),
        TOOLS_NEEDING_APPROVAL=json.dumps(["web_fetch"]),
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _webhook_secret(folder: Path) -> str:
    return data_dir.secret(folder / "webhook.secret")


def _unless_told(**defaults: str) -> dict[str, str]:
    return {name: value for name, value in defaults.items() if not os.environ.get(name)}
