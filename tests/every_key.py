"""Every key of Redis that `keys.py` makes, as the pages write it."""

import inspect
from collections.abc import Iterator

from sluiceway import keys

# Of its parts a key has the kind in capitals, as the page writes it.
_PARTS = {"process": "PROCESS", "job_id": "JOB", "kind": "KIND", "name": "LIMIT", "who": "CALLER", "slot": "SLOT"}
# They name a queue or a group, and are no keys.
_NO_KEYS = {
    "kind_of",
    "tool_queue",
    "GROUP",
    "CHAT",
    "COMPLETIONS",
    "PROGRESS_RATE",
    "IN_TURNS",
    "MOST_PARTITIONS",
    "PERSISTENT",
    "TASK_METAS",
    "task_of_meta",
}


def every_key() -> Iterator[str]:
    for name, value in vars(keys).items():
        if name.startswith("_") or name in _NO_KEYS:
            continue
        if inspect.isfunction(value):
            parts = [one.name for one in inspect.signature(value).parameters.values() if one.default is one.empty]
            yield value(*(_PARTS.get(part, "ID") for part in parts))
        else:
            yield value
