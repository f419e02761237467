"""The names that the tools of MCP servers have here: `{server}__{tool}`, made to fit what model servers accept.

A tool of an MCP server may be called nearly anything, and as long as it likes. A name that fits is kept. What does not
fit is made of it the same way by every runner, whatever order the server lists its tools in.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

_MAX_LENGTH = 64
_FOREIGN = re.compile(r"[^a-zA-Z0-9_-]")
_DIGEST_LENGTH = 8


def prefix_of(server: str) -> str:
    return f"{server}__"


def offered_names(server: str, tools: Iterable[str]) -> dict[str, str]:
    """{name here: name at the server}, one for each different tool."""
    tools = sorted(set(tools))
    fitting = {tool: _fit(f"{prefix_of(server)}{tool}") for tool in tools}
    wanted = Counter(fitting.values())
    names: dict[str, str] = {}
    for tool, name in fitting.items():
        own = name == f"{prefix_of(server)}{tool}"
        names[name if own or wanted[name] == 1 else _marked(name, tool)] = tool
    return names


def _fit(name: str) -> str:
    """Foreign characters become underscores; of a long name the end becomes a digest of the whole."""
    fitting = _FOREIGN.sub("_", name)
    return fitting if len(fitting) <= _MAX_LENGTH else _marked(fitting, name)


def _marked(name: str, original: str) -> str:
    digest = hashlib.sha256(original.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{name[: _MAX_LENGTH - _DIGEST_LENGTH - 1]}_{digest}"
