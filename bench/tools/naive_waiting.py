"""The usual way to wait, for comparison: `python -m bench.tools.naive_waiting URL NUMBER`.

A coroutine for each operation, which awaits the answer on an httpx connection of its own. It waits for a line of its
standard input before it begins, so that its memory can be measured before.
"""

import asyncio
import sys

import httpx
import uvloop


async def _run(url: str, number: int) -> None:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(timeout=None, limits=limits, trust_env=False) as http:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        asked = ({"operation_id": f"operation-{each}", "input": {}} for each in range(number))
        answers = await asyncio.gather(*(http.post(url, json=one) for one in asked))
        for answer in answers:
            answer.raise_for_status()


if __name__ == "__main__":
    uvloop.run(_run(sys.argv[1], int(sys.argv[2])))
