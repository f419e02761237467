"""Every Redis key, consumer group and time to live. No key literal stands anywhere else.

The braces are literal: they are hash tags, so all keys of a task share a slot and one script may touch them.
A key either has a TTL or is listed in PERSISTENT.
"""

from datetime import timedelta

GROUP = "workers"
PERSISTENT = ("sw:q:*", "sw:workers:*")


def task_meta(task_id: str) -> str:
    return f"sw:task:{{{task_id}}}:meta"


def task_events(task_id: str) -> str:
    return f"sw:task:{{{task_id}}}:events"


def operation(operation_id: str) -> str:
    return f"sw:op:{operation_id}"


def session_active(session_id: str) -> str:
    return f"sw:session:{{{session_id}}}:active"


def job_events(job_id: str) -> str:
    """Without prefix and braces: readers and writers that are not ours know it by this name."""
    return f"job_events:{job_id}"


def work_queue(kind: str, partition: int = 0) -> str:
    return f"sw:q:{kind}:{partition}"


def live_workers(kind: str) -> str:
    return f"sw:workers:{kind}"


# A live task's keys are kept for this long after their last refresh; the lease tick and the reconciler refresh them.
LIVE_TTL = timedelta(hours=24)
# How long an ended task can still be replayed, and a job's events after the last of them.
RETENTION = timedelta(hours=1)
