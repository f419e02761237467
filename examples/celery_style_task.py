"""A task as Celery runs one: a plain function, called by a worker process without an event loop of its own.

It tells what it does as job events, which anybody who has the job's id follows at
`GET /api/chat/jobs/JOB_ID/events`. Events are for onlookers: when one cannot be published, the publisher logs that, and
the task goes on. What may not be lost is the task's result, and that it returns.

    REDIS_URL=redis://127.0.0.1:6379/0 python examples/celery_style_task.py JOB_ID "a text to count"
"""

import asyncio
import os
import sys
from collections.abc import Awaitable

from sluiceway.errors import JobEventError
from sluiceway.feeds.job_events import JobEventPublisher
from sluiceway.redis.client import open_redis

TASK_TYPE = "word_count"


# With Celery: @app.task
def count_words(job_id: str, text: str) -> int:
    """Each run has an event loop of its own, so it opens a connection of its own: a client cannot change loops."""
    return asyncio.run(_count_words(job_id, text))


async def _count_words(job_id: str, text: str) -> int:
    async with open_redis(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"), name="word-count") as redis:
        events = JobEventPublisher(redis)
        await _told(events.publish_task_started(job_id, TASK_TYPE, characters=len(text)))
        try:
            words = 0
            for number, line in enumerate(lines := text.splitlines(), start=1):
                words += len(line.split())
                await _told(events.publish_task_progress(job_id, TASK_TYPE, f"{number}/{len(lines)}", line=line))
        except Exception as error:
            await _told(events.publish_task_failed(job_id, TASK_TYPE, error))
            raise
        await _told(events.publish_task_completed(job_id, TASK_TYPE, {"words": words}))
    return words


async def _told(publishing: Awaitable[str]) -> bool:
    """Whether the event is published. The publisher has logged why not."""
    try:
        await publishing
    except JobEventError:
        return False
    return True


if __name__ == "__main__":
    # One process, two runs, as in a Celery worker that takes one task after the other.
    for run in (1, 2):
        print(f"run {run}: {count_words(sys.argv[1], sys.argv[2])} words")
