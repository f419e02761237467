"""In one sentence: why a turn has not ended, who has it, and what will happen next."""

from collections.abc import Sequence, Set
from dataclasses import dataclass

from sluiceway.queue.queue_state import EntryHolder
from sluiceway.store.operating.ops import TurnSeen
from sluiceway.store.people.usage import ChargedCall

from gateway.ops import endings
from gateway.ops.evidence import Evidence, OperationEvidence

_QUIET_SECONDS = 10.0
# The newest event of a stream whose model is in the middle of something.
_OF_THE_MODEL = frozenset(
    ("text-start", "text-delta", "reasoning-start", "reasoning-delta", "tool-input-start", "tool-input-delta")
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else the sentence needs. `lease_seconds`: after so much silence another worker takes an entry over.
    `waiting`: entries that wait for a chat worker. `consumers`: completion consumers; `offered`: the tools of living
    runners; None: not known. `broken`: what holds up every turn, in words. `lacking`: what keeps chat workers that are
    there from taking turns; see `load.lacking`."""

    lease_seconds: float
    chat_workers: int
    waiting: int
    consumers: int | None
    offered: Set[str] | None = None
    broken: str | None = None
    lacking: str = ""


def explain(evidence: Evidence, around: Surroundings) -> str:
    task = evidence.seen.task
    if task.ended:
        return _ended(evidence, around)
    match task.status:
        case "queued":
            sentence = _queued(evidence, around)
        case "waiting":
            sentence = _waiting(evidence, around)
        case _:
            sentence = _running(evidence, around)
    if around.broken is not None:
        sentence = f"Nothing goes on until this is mended: {around.broken}. {sentence}"
    if evidence.seen.cancel_seconds is not None:
        sentence += f" {_wish(evidence.seen)}"
    return sentence


def _wish(seen: TurnSeen) -> str:
    facts = seen.end_facts or {}
    by = f": operator {facts['name']}" if facts.get("by") == "operator" else ""
    return f"Somebody asked {_ago(seen.cancel_seconds or 0)} for it to end{by}."


def phase(evidence: Evidence, around: Surroundings) -> str:
    """The same in a few words, for a list."""
    task = evidence.seen.task
    if task.ended:
        return task.status
    if task.status == "queued":
        return "behind another turn" if evidence.seen.behind is not None else "waits for a worker"
    if task.status == "waiting":
        if task.retry_at is not None:
            return "waits for its model"
        names = ", ".join(_named(one, around) for one in evidence.operations[:3])
        return f"waits for {names}" if names else "waits for its next step"
    if evidence.holder is None or not _alive(evidence.holder, around):
        return "its worker is silent"
    if (told := _at_the_model(evidence)) is not None:
        return told
    quiet = f", silent {_for(evidence.quiet_seconds or 0)}" if _is_quiet(evidence) else ""
    doing = "answers" if evidence.shown else "began"
    return f"asks its model{quiet}" if _says_nothing(evidence) else f"{doing}{quiet}"


def _named(one: OperationEvidence, around: Surroundings) -> str:
    silent = one.holder is not None and not _alive(one.holder, around)
    return f"{one.seen.operation.tool_name} (its runner is silent)" if silent else one.seen.operation.tool_name


def _ended(evidence: Evidence, around: Surroundings) -> str:
    task, ago = evidence.seen.task, _ago(evidence.seen.ended_seconds or 0)
    ended = "was cancelled" if task.status == "cancelled" else task.status
    begun = f"in attempt {task.attempt}" if task.attempt else "before anybody had begun it"
    sentence = f"It {ended} {ago}, {begun}{endings.why(evidence.seen)}"
    if task.settled_at is None:
        sentence += f" Its stream may not be closed yet: {_the_reconciler(around)} does that."
    return sentence


def _queued(evidence: Evidence, around: Surroundings) -> str:
    age = _for(evidence.seen.age_seconds)
    if evidence.seen.behind is not None:
        return f"It waits {age} behind turn {evidence.seen.behind} of its session, and begins when that one has ended."
    if evidence.holder is not None:
        ago = _ago(evidence.holder.idle_seconds)
        return f"Worker {evidence.holder.consumer} has taken it {ago} and is about to begin."
    if not evidence.queued:
        return f"It is in no queue, {age} after it was accepted: {_the_reconciler(around)} queues it within seconds."
    if around.chat_workers == 0:
        return f"It waits {age} for a chat worker, and none is ready.{around.lacking}"
    return (
        f"It waits {age} for a chat worker: {around.waiting} turns wait, {around.chat_workers} workers are ready, so"
        " all slots are busy."
    )


def _running(evidence: Evidence, around: Surroundings) -> str:
    task, holder = evidence.seen.task, evidence.holder
    if holder is None:
        if evidence.queued:
            return f"No worker has it after attempt {task.attempt}: it is queued again, and waits for a chat worker."
        lost = f"No worker has it after attempt {task.attempt}, and it is in no queue"
        return f"{lost}: {_the_reconciler(around)} queues it."
    if not _alive(holder, around):
        left = "when another worker is free" if around.chat_workers else "when a chat worker is there: none is ready"
        return (
            f"Its worker {holder.consumer} is silent {_for(holder.idle_seconds)}, longer than a lease; another takes it"
            f" over, {left}."
        )
    doing = _at_the_model(evidence) or _doing(evidence)
    return f"Worker {holder.consumer} (alive {_ago(holder.idle_seconds)}) has it, attempt {task.attempt}: it {doing}."


def _waiting(evidence: Evidence, around: Surroundings) -> str:
    if not evidence.operations:
        if (retry_at := evidence.seen.task.retry_at) is not None:
            code = ((evidence.seen.task.model_wait or {}).get("status") or {}).get("code", "no answer")
            if code == "MODEL_IN_LINE":
                # Others are waited for: the model was asked as often as it may be in a minute.
                return f"It is in its model's line, holds no worker, and asks again at {retry_at:%H:%M:%S} UTC."
            return f"Its model is away ({code}): it holds no worker, and is asked again at {retry_at:%H:%M:%S} UTC."
        if evidence.holder is not None or evidence.queued:
            return f"Its next step is queued, and waits for a chat worker: {around.chat_workers} are ready."
        lost = "It waits for no operation that is open, and its next step is in no queue"
        return f"{lost}: {_the_reconciler(around)} sees to it."
    told = "; ".join(_operation(one, around) for one in evidence.operations[:5])
    more = f"; and {len(evidence.operations) - 5} more" if len(evidence.operations) > 5 else ""
    return f"It waits for {told}{more}."


def _operation(one: OperationEvidence, around: Surroundings) -> str:
    operation = one.seen.operation
    named = f"`{operation.tool_name}` ({operation.id})"
    ends = _fails(one, around)
    match operation.status:
        case "approval":
            return f"a person's answer to {named}{ends}"
        case "client":
            return f"the client's output of {named}{ends}"
        case "accepted":
            return f"the webhook of an outside service for {named}{ends}"
        case "pending" if one.holder is None:
            where = "in its queue, with no runner that has it" if one.queued else "in no queue"
            return f"{named}, {where}{ends}"
        case _:
            return f"{named}, {_runner(one, around)}{ends}"


def _fails(one: OperationEvidence, around: Surroundings) -> str:
    """When, if nothing happens. What no runner offers is not waited for until its deadline."""
    held = one.holder is not None and _alive(one.holder, around)
    queued = one.seen.operation.status in ("pending", "running") and not held
    if queued and around.offered is not None and one.seen.operation.tool_name not in around.offered:
        return ", and no runner offers that tool now: it fails a minute after one was last heard of"
    return f", which fails {_until(one.seen.deadline_seconds)}"


def _runner(one: OperationEvidence, around: Surroundings) -> str:
    if one.holder is None:
        return f"begun by {one.seen.operation.runner}, which has it no more"
    if _alive(one.holder, around):
        return f"with runner {one.holder.consumer} (alive {_ago(one.holder.idle_seconds)})"
    return f"with runner {one.holder.consumer}, silent {_for(one.holder.idle_seconds)}"


def _doing(evidence: Evidence) -> str:
    if _says_nothing(evidence):
        began = evidence.seen.running_seconds
        since = f", {_ago(began)} begun" if began is not None and evidence.seen.task.attempt == 1 else ""
        return f"asks its model, which has said nothing in this step{since}"
    if not evidence.shown:
        return "has shown nothing yet"
    if not _is_quiet(evidence):
        return "has begun to answer"
    quiet = _for(evidence.quiet_seconds or 0)
    who = "its model is silent" if evidence.newest in _OF_THE_MODEL else "nothing more came"
    return f"has begun to answer, and {who} {quiet}"


def _says_nothing(evidence: Evidence) -> bool:
    """A step was begun, and nothing came of it yet."""
    return evidence.newest in ("start", "start-step")


def _is_quiet(evidence: Evidence) -> bool:
    """A model that is at work says something every second."""
    return (evidence.quiet_seconds or 0) > _QUIET_SECONDS


def _at_the_model(evidence: Evidence) -> str | None:
    status = evidence.status
    if status is None or status.get("state") != "waiting":
        return None
    told = (str(status.get(name, "?"))[:60] for name in ("since", "code", "attempt", "nextTryAt"))
    since, code, tries, following = told
    return f"waits for the model since {since} ({code}, {tries} requests failed, the next one at {following})"


def _alive(holder: EntryHolder, around: Surroundings) -> bool:
    return holder.idle_seconds <= around.lease_seconds


def _the_reconciler(around: Surroundings) -> str:
    return "the reconciler" if around.consumers != 0 else "the reconciler (no completion consumer is running!)"


def _for(seconds: float) -> str:
    return f"for {_long(seconds)}"


def _ago(seconds: float) -> str:
    return f"{_long(seconds)} ago"


def _until(seconds: float) -> str:
    return f"in {_long(seconds)}" if seconds > 0 else f"any moment (it should have {_long(-seconds)} ago)"


def _long(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def facts(evidence: Evidence) -> Sequence[str]:
    """What the sentence stands on, a line each."""
    seen, task, meta = evidence.seen, evidence.seen.task, evidence.meta
    lines = [
        f"Postgres: {task.status}, attempt {task.attempt}, accepted {_ago(seen.age_seconds)}"
        + (f", first begun {_ago(seen.running_seconds)}" if seen.running_seconds is not None else ", never begun")
        + f", {task.open_operations} operations to wait for",
        f"Redis: {meta.status}, attempt {meta.attempt}, {evidence.shown} events shown" if meta else "Redis: unknown",
        f"Queue: entry {evidence.entry}, {'there' if evidence.queued else 'gone'}"
        if evidence.entry
        else "Queue: no entry",
    ]
    if (holder := evidence.holder) is not None:
        lines.append(f"Holder: {holder.consumer}, lease renewed {_ago(holder.idle_seconds)}")
    if task.error:
        lines.append(f"Error: {task.error.get('code')}")
    if task.usage:
        lines.append("Tokens: " + ", ".join(f"{name} {count}" for name, count in task.usage.items()))
    lines += [f"Operation: {_facts_of(one)}" for one in evidence.operations]
    return lines


def cost(calls: Sequence[ChargedCall]) -> str:
    """What a turn's model calls cost, as far as prices are known."""
    priced = [call.cost for call in calls if call.cost is not None]
    told = f"${sum(priced):.4f}" if priced else "no price is known (MODEL_PRICES)"
    without = f", without {len(calls) - len(priced)} whose price is not known" if 0 < len(priced) < len(calls) else ""
    return f"Cost: {told}, of {len(calls)} model calls{without}"


def _facts_of(one: OperationEvidence) -> str:
    operation = one.seen.operation
    held = f"{one.holder.consumer}, {_ago(one.holder.idle_seconds)}" if one.holder is not None else "nobody"
    return (
        f"{operation.id} {operation.tool_name} {operation.status}, called {_ago(one.seen.age_seconds)}, queue"
        f" {operation.queue}, held by {held}, deadline {_until(one.seen.deadline_seconds)}"
    )
