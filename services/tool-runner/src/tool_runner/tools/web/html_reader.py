"""Reading HTML of strangers: in a process of its own, so that no page can stall or crash this one.

Guarantees: an answer within READ_SECONDS and a moment, for any page. What the parser cannot bear is read by cutting its
tags out.
"""

import asyncio
import contextlib
import json
import re
import sys

from sluiceway.process.logs import get_logger

READ_SECONDS = 8.0
_TAG = re.compile(r"<[^<>]*>")
_SPACES = re.compile(r"[ \t\r\f\v]+")
_EMPTY_LINES = re.compile(r"\n\s*\n+")


async def read_html(html: str, url: str) -> tuple[str | None, str]:
    """The title, if there is one, and the text."""
    reader = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-m", "tool_runner.tools.web.html_text", url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(READ_SECONDS):
            told, _ = await reader.communicate(html.encode(errors="replace"))
        answer = json.loads(told)
        return answer["title"], answer["text"]
    except (TimeoutError, ValueError, OSError) as error:
        get_logger().warning("html_not_parsed", reason=type(error).__name__, chars=len(html))
        return None, _without_tags(html)
    finally:
        if reader.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                reader.kill()
            await reader.wait()


def _without_tags(html: str) -> str:
    return _EMPTY_LINES.sub("\n\n", _SPACES.sub(" ", _TAG.sub(" ", html))).strip()
