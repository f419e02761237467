"""A process whose threads publish agent events: `python agents_process.py REDIS_URL NAME THREADS EVENTS TASK…`.

Each thread publishes to the tasks in turn, and prints nothing; the exit code is 0 when every publish was answered.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

from sluiceway.feeds.agent_threads import ThreadPublisher, open_threads


def main() -> int:
    redis_url, name, threads, events, *task_ids = sys.argv[1:]
    with open_threads(redis_url) as publisher, ThreadPoolExecutor(int(threads)) as pool:
        authors = [f"{name}-{number}" for number in range(int(threads))]
        list(pool.map(lambda author: publish_all(publisher, author, int(events), task_ids), authors))
    return publisher.failed


def publish_all(publisher: ThreadPublisher, author: str, events: int, task_ids: list[str]) -> None:
    for number in range(events):
        for task_id in task_ids:
            event = publisher.publish_nowait(task_id, author, "thought", f"{task_id} {author}", {"number": number})
            assert event is not None
            assert (event.task_id, event.agent_name) == (task_id, author)


if __name__ == "__main__":
    sys.exit(main())
