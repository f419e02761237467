"""What the numbers were measured on."""

import os
import platform
from pathlib import Path

from redis import Redis


def describe(redis_url: str) -> str:
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        server = redis.info("server")
    kind = "Valkey" if "valkey_version" in server else "Redis"
    return (
        f"{_cpu()}, {len(os.sched_getaffinity(0))} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {kind} {server[f'{kind.lower()}_version']}"
    )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
