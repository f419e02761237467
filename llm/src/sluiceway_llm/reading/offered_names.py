"""The name of a tool as a model wrote it, and as it was offered: models write `functions.note`, `default_api:note`,
`functions.note:0`, `"note"` or `Note`, as their training had it."""

import re
from collections.abc import Collection

_AROUND = "\"'` \t\n"
_BEHIND = re.compile(r"(:\d{1,4}|\(\))\Z")
_NAMESPACES = re.compile(r"(?:[A-Za-z_][\w-]{0,63}[.:/]){0,3}")


def offered_name(name: str, offered: Collection[str]) -> str:
    """As it was offered, where one that was can be meant; else as it is."""
    if name in offered:
        return name
    written = _BEHIND.sub("", name.strip(_AROUND))
    meant = _NAMESPACES.sub("", written, count=1)
    if (found := next((one for one in (written, meant) if one in offered), None)) is not None:
        return found
    alike = [one for one in offered if _plain(one) == _plain(meant)]
    return alike[0] if len(alike) == 1 else name


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_")
