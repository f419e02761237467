"""Every Redis key and consumer group. No key literal stands anywhere else.

The braces are literal: they are hash tags, so all keys of a task share a slot and one script may touch them.
A key either has a TTL, from `Retention` or the lease, or is listed in PERSISTENT.
"""

GROUP = "workers"
# The kinds of work queues; see `work_queue`. Those of tools are named by `tool_queue`.
CHAT = "chat"
COMPLETIONS = "completions"
# The limit of reports of progress, which counts by operation; see `rate`.
PROGRESS_RATE = "progress"
PERSISTENT = ("sw:q:*", "sw:lanes:*", "sw:workers:*")


def task_meta(task_id: str) -> str:
    return f"sw:task:{{{task_id}}}:meta"


def task_events(task_id: str) -> str:
    return f"sw:task:{{{task_id}}}:events"


# The metadata of all tasks, as a pattern of SCAN.
TASK_METAS = "sw:task:{*}:meta"


def task_of_meta(key: str) -> str:
    """Whose metadata it is."""
    return key[key.index("{") + 1 : key.rindex("}")]


def operation_reported(operation_id: str) -> str:
    """That its end was queued, for as long as that takes to be applied. The key's name is older than its meaning."""
    return f"sw:op:{operation_id}:holder"


def tool_queue(queue: str) -> str:
    """The kind of work queue that the operations of some tools go to."""
    return f"tools.{queue}"


def rate(name: str, who: str) -> str:
    """How often somebody, or something, did what that limit counts. Kept for two of its windows."""
    return f"sw:rate:{name}:{who}"


def model_budget(model_id: str) -> str:
    """What a model was asked for within the last minute. The id is a hash of its server and its name."""
    return f"sw:model:{{{model_id}}}:budget"


def model_line(model_id: str) -> str:
    """Its calls that wait in line, by their arrival."""
    return f"sw:model:{{{model_id}}}:line"


def model_tickets(model_id: str) -> str:
    """Of each call in line its tokens, and until when others wait for it."""
    return f"sw:model:{{{model_id}}}:tickets"


CATALOGUE = "sw:tools"
# How many tokens each model takes, as chat workers tell it; it expires a minute after the last of them.
WINDOWS = "sw:windows"
# What each living process says of the settings that must be the same everywhere; expires with the last of them.
SETTINGS = "sw:settings"


# Browsers' sign-ins that were ended before their time, by a hash.
SIGNED_OUT = "sw:signed-out"


def drained(worker: str) -> str:
    """There while an operator wants that worker to take nothing."""
    return f"sw:drained:{worker}"


# How far Postgres was: a lower number there means that it went back, as after a restore.
STORE_MARK = "sw:store:mark"


def write_probe(process: str) -> str:
    """Whether Redis takes writes: a process's own, for a moment."""
    return f"sw:probe:{process}"


def session_active(session_id: str) -> str:
    return f"sw:session:{{{session_id}}}:active"


def session_notes(session_id: str) -> str:
    """There while a worker makes notes of that session's conversation."""
    return f"sw:session:{{{session_id}}}:notes"


def job_events(job_id: str) -> str:
    """Without prefix and braces: readers and writers that are not ours know it by this name."""
    return f"job_events:{job_id}"


def agent_stream(task_id: str) -> str:
    return f"sw:agents:{{{task_id}}}:meta"


def agent_events(task_id: str, slot: int) -> str:
    """Each new stream of a task takes the other slot, 0 or 1; the first, and the one that is to come, 0."""
    return f"sw:agents:{{{task_id}}}:events:{slot}"


def agent_published(task_id: str) -> str:
    """What was published last, by the ids of the publishing."""
    return f"sw:agents:{{{task_id}}}:published"


# Agent streams that are open, by when they were last heard of.
AGENT_STREAMS = "sw:agents"


def person_events(person_id: str) -> str:
    """What a person's devices are told. The id is a hash of his name."""
    return f"sw:person:{{{person_id}}}:events"


# A queue has at most so many partitions.
MOST_PARTITIONS = 16


def work_queue(kind: str, partition: int = 0) -> str:
    """The stream of one of its partitions. Keys that differ in the last digit are in different quarters of a cluster's
    slots, as long as that is 0 to 3: so CRC16 has it."""
    return f"sw:q:{kind}:{partition}"


# Queues whose users, and organisations, take turns: of each one entry waits in the queue, the others in lanes; see
# `queue/work_queue.py`.
IN_TURNS = frozenset({CHAT})


def lane_entries(kind: str, partition: int = 0) -> str:
    """What waits in lanes, of all users, in the order in which it came."""
    return f"sw:lanes:{{{work_queue(kind, partition)}}}:entries"


def lane_heads(kind: str, partition: int = 0) -> str:
    """Who has an entry in the queue that no worker had yet, by when it was put there."""
    return f"sw:lanes:{{{work_queue(kind, partition)}}}:heads"


def lane(kind: str, user_id: str, partition: int = 0) -> str:
    """Which of the entries in lanes are that user's, in his order."""
    return f"sw:lanes:{{{work_queue(kind, partition)}}}:of:{user_id}"


def lane_orgs(kind: str, partition: int = 0) -> str:
    """Which organisations have entries in the queue that no worker had yet, by when the oldest was put there."""
    return f"sw:lanes:{{{work_queue(kind, partition)}}}:orgs"


def lane_seats(kind: str, org: str, partition: int = 0) -> str:
    """Those entries of an organisation, with whose they are."""
    return f"sw:lanes:{{{work_queue(kind, partition)}}}:seats:{org}"


def lane_people(kind: str, org: str, partition: int = 0) -> str:
    """Who of an organisation has something in his lane and nothing in the queue, in the order of their turns."""
    return f"sw:lanes:{{{work_queue(kind, partition)}}}:people:{org}"


def kind_of(queue: str) -> str:
    """The kind of a work queue, from its key; what is no such key as it is."""
    parts = queue.split(":")
    return parts[2] if queue.startswith("sw:q:") and len(parts) == 4 else queue


def live_workers(kind: str) -> str:
    return f"sw:workers:{kind}"
