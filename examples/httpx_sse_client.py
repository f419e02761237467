"""A message and its answer with httpx-sse (`pip install httpx-sse`), over connections that may break.

python examples/httpx_sse_client.py "What is a sluice?"
"""

import json
import os
import sys
import time
import uuid

import httpx
from httpx_sse import connect_sse

GATEWAY = os.environ.get("GATEWAY", "http://127.0.0.1:8000")


def main(text: str) -> None:
    with httpx.Client(base_url=GATEWAY, timeout=30) as http:
        session = f"python-{uuid.uuid4()}"
        http.post("/api/chat/sessions", json={"id": session}).raise_for_status()
        turn = http.post(f"/api/chat/sessions/{session}/messages", json={"message": text}).raise_for_status().json()
        last: str | None = ""
        while last is not None:
            last = follow(http, turn["stream_url"], last)


def follow(http: httpx.Client, url: str, last: str) -> str | None:
    """The id of the last event, to go on behind it where the connection broke; None at the end."""
    try:
        with connect_sse(http, "GET", url, headers={"last-event-id": last} if last else {}) as stream:
            if stream.response.status_code == 204:  # the connection broke behind the last event
                return None
            stream.response.raise_for_status()
            for event in stream.iter_sse():
                if event.data == "[DONE]":
                    return None
                chunk = json.loads(event.data)
                if chunk["type"] == "text-delta":
                    print(chunk["delta"], end="", flush=True)
                last = event.id or last
    except httpx.HTTPError as error:
        if isinstance(error, httpx.HTTPStatusError) and error.response.is_client_error:
            raise
        time.sleep(1)
    return last


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "Hello")
