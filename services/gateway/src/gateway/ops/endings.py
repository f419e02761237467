"""In one sentence or two: why a turn that has ended did not complete, what its user was told, and what to do.

Guarantees: no word of the conversation. A server's own words are in its user's history alone: they may quote it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sluiceway.store.operating.ops import TurnSeen
from sluiceway.store.records import Operation

_RUNBOOK = "docs/runbook"
_OF_THE_MODEL = "MODEL_"
_SAME_AGAIN = "The user may send the message again"


@dataclass(frozen=True, slots=True)
class Failure:
    """Behind "It failed, in attempt 2: ". `what` went wrong, and what to `do`."""

    what: str
    do: str


_ACCOUNT = f"Look at the key and the account of the model server ({_RUNBOOK}/turns-fail.md)"
_SERVER = f"Look at the model server ({_RUNBOOK}/model-away.md). {_SAME_AGAIN} when it is back"
FAILURES: Mapping[str, Failure] = {
    "MODEL_RATE_LIMITED": Failure(
        "its model server took no more requests, for longer than MODEL_PATIENCE_SECONDS",
        f"Raise its limit there, or set MODEL_REQUESTS_PER_MINUTE to it: turns wait in line then. {_SAME_AGAIN}",
    ),
    "MODEL_IN_LINE": Failure(
        "its turn in the model's line (MODEL_REQUESTS_PER_MINUTE, MODEL_TOKENS_PER_MINUTE) did not come in time",
        f"Raise them, where the model server allows more. {_SAME_AGAIN}",
    ),
    "MODEL_UNAVAILABLE": Failure("its model server could not be reached, or had a fault", _SERVER),
    "MODEL_TIMEOUT": Failure("its model server was silent for too long", _SERVER),
    "MODEL_CUT": Failure("its model server broke off in the middle of the answer", _SERVER),
    "MODEL_GARBAGE": Failure(
        "what its model server answered is no chat stream",
        "Check OPENAI_BASE_URL (it usually ends in /v1), and what stands between",
    ),
    "MODEL_EMPTY": Failure("its model said nothing, each time it was asked", f"{_SAME_AGAIN}, or to another model"),
    "MODEL_BAD_REQUEST": Failure(
        "its model server refused the request",
        "See what was changed last: the model, its name, MODEL_DIALECT, MODEL_OPTIONS. The server's words are in"
        " its log, and in the user's history",
    ),
    "MODEL_OUT_OF_FORM": Failure(
        "nothing that its model could say next fits a schema that the request did not ask for",
        "Correct the schema: it is set at the model server, or by MODEL_EXTRA_BODY",
    ),
    "MODEL_KEY_REJECTED": Failure("its model server refused the key", f"{_ACCOUNT}: OPENAI_API_KEY"),
    "MODEL_NOT_FOUND": Failure("its model server does not know the model", "Correct MODEL, or OPENAI_BASE_URL"),
    "MODEL_CONTEXT_LENGTH_EXCEEDED": Failure(
        "the message is too long for the model, with nothing left that could be left out",
        "Nothing: the user sends it in parts. If the model takes more, say so by MODEL_WINDOW_TOKENS",
    ),
    "MODEL_CONTENT_FILTERED": Failure(
        "the content filter of its model server refused the conversation", "Nothing: the user words it differently"
    ),
    "MODEL_OUTPUT_LIMIT": Failure(
        "the answer reached its limit before there was anything to show", "Raise MAX_OUTPUT_TOKENS, or think less"
    ),
    "MODEL_QUOTA_EXHAUSTED": Failure("the account at its model server has no credit left", _ACCOUNT),
    "MODEL_WRONG_ADDRESS": Failure(
        "OPENAI_BASE_URL is not the address of an OpenAI-compatible API", "Correct it: it usually ends in /v1"
    ),
    "MODEL_NOT_ALLOWED": Failure(
        "it asked for a model that is not offered here", "Nothing, or name the model in MODELS"
    ),
    "TOOL_NAME_TAKEN": Failure(
        "its client offered a tool with the name of one of ours", "The client names its tool differently"
    ),
    "TOOL_LIMIT": Failure(
        "its model called more tools than a turn may", "Nothing, or raise MAX_STEPS. The user asks for a smaller part"
    ),
    "ANSWER_DOES_NOT_FIT": Failure(
        "its model answered twice in another form than the request asked for",
        "Nothing, if it is rare: else another model, or a simpler schema",
    ),
    "ANSWER_NOT_STORABLE": Failure(
        "Postgres refused what it says",
        "Look for `turn_not_storable` in the log, which has the reason: this is a defect, or a changed table",
    ),
    "TURN_BROKEN": Failure(
        "something in the chat worker failed, twice",
        f"This is a defect: `turn_broken` in the log has where. {_SAME_AGAIN} after the mend",
    ),
    "TURN_GAVE_UP": Failure(
        "no worker that took it came to an end with it, and its queue entry is a dead letter",
        "The letter below says why. `sluicewayctl dead replay NUMBER` answers the same message after the mend",
    ),
    "TURN_DEADLINE_EXCEEDED": Failure(
        "it had not ended within TURN_DEADLINE_SECONDS, and a completion consumer ended it",
        f"See why it did not end: {_RUNBOOK}/turns-wait-for-workers.md, {_RUNBOOK}/model-away.md. {_SAME_AGAIN}",
    ),
    "TURN_FAILED": Failure(
        f"Postgres had lost its end ({_RUNBOOK}/store-went-back.md), and its stream says no more", _SAME_AGAIN
    ),
}
WANTED = {
    "owner": "its user stopped it",
    "operator": "operator {name} cancelled it",
    "interrupt": "its user sent a message that interrupts: turn {for} answers that",
    "latest": "a later message took its place: turn {for} answers that",
    "replacing": "its user edited the question, asked for another answer, or left its branch: turn {for} answers now",
    "taking back": "its user took the message back before anybody had begun it",
}


def why(seen: TurnSeen) -> str:
    """Behind "It failed 3 s ago, in attempt 2"; empty where its status says all."""
    task, facts = seen.task, seen.end_facts or {}
    if task.status == "failed":
        return _failure(str((task.error or {}).get("code", "?")), facts)
    if task.status == "cancelled":
        wanted = WANTED.get(str(facts.get("by")), "it is not known who wanted it")
        return f": {wanted.format_map(facts)}."
    return f": it gave way to turn {facts['for']}, which steers it." if facts.get("by") == "steer" else "."


def calls(operations: Sequence[Operation]) -> Iterable[str]:
    """The tool calls of an ended turn that did not succeed, a line each. What a tool says of it is its user's."""
    for one in operations:
        if one.status != "succeeded":
            kind = f" ({one.error['type']})" if one.error else ""
            runner = f", with runner {one.runner}, attempt {one.attempt}" if one.runner else ""
            yield f"Call {one.id} of {one.tool_name}, step {one.step}: {one.status}{kind}{runner}"


def _failure(code: str, facts: Mapping[str, str | int]) -> str:
    known = FAILURES.get(code, Failure("this version knows no more of it", f"See {_RUNBOOK}/turns-fail.md"))
    told = f' Its user was told: "{facts["told"]}"' if "told" in facts else ""
    return f"{_where(facts)}: {known.what} ({', '.join([code, *_details(code, facts)])}).{told} Do: {known.do}."


def _where(facts: Mapping[str, str | int]) -> str:
    step = f", step {facts['step']}" if "step" in facts else ""
    return step + (f", at worker {facts['worker']}" if "worker" in facts else "")


def _details(code: str, facts: Mapping[str, str | int]) -> list[str]:
    """What the log has of it."""
    shown = {
        "model": "model {}",
        "model_status": "status {}",
        "request_id": "request id {}",
        "reason": "{}",
        "attempts": "after {} requests of the step",
        "deliveries": "after {} deliveries",
        "was": "while it was {}",
        "seconds": "after {} s",
    }
    if not code.startswith(_OF_THE_MODEL):
        del shown["model"]
    if facts.get("attempts") == 1:
        del shown["attempts"]
    return [words.format(facts[name]) for name, words in shown.items() if name in facts]
