"""Which steps answer a request: a script that was registered, the tags in the message, or the default."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from harness.model_server.answers import MULTIBYTE_WORDS, TAGS, last_user_text
from harness.model_server.continuing import beginning_of, continued, refusal_of

Step = dict[str, Any]
Tags = dict[str, str]


@dataclass(slots=True)
class Script:
    steps: list[Step]
    match: str | None = None
    path: str = "/chat/completions"
    times: int = 1

    def fits(self, path: str, text: str) -> bool:
        return self.times > 0 and path.endswith(self.path) and (self.match is None or self.match in text)


class Plans:
    """Registered scripts, first come first served, and how often each message was seen."""

    def __init__(self) -> None:
        self._scripts: list[Script] = []
        self._seen: Counter[str] = Counter()

    def register(self, script: dict[str, Any]) -> None:
        self._scripts.append(Script(**script))

    def steps_for(self, path: str, body: Any) -> list[Step]:
        text = last_user_text(body) if isinstance(body, dict) else ""
        for script in self._scripts:
            if script.fits(path, text):
                script.times -= 1
                return script.steps
        if not path.endswith(("/chat/completions", "/responses")):
            return []
        self._seen[text] += 1
        tags = tags_in(text)
        steps = steps_of_tags(tags, text, seen=self._seen[text])
        beginning = beginning_of(body)
        return steps if beginning is None else refusal_of(body) or continued(steps, beginning, body, tags)


def tags_in(text: str) -> Tags:
    pairs = (word.partition("=") for found in TAGS.findall(text) for word in found.split())
    return {name: value for name, _, value in pairs}


def steps_of_tags(tags: Tags, text: str, seen: int) -> list[Step]:
    """The steps that a message's tags ask for. `seen` counts the requests with this message, this one included."""
    steps: list[Step] = []
    if "stall_headers" in tags:
        steps.append({"stall": tags["stall_headers"]})
    if seen <= int(tags.get("times", seen)):
        if "status" in tags:
            return [*steps, {"status": tags["status"], "retry_after": tags.get("retry_after")}]
        if "drop" in tags:
            return [*steps, {"drop": True}]
    steps.append({"framing": _framing(tags)})
    if tags.get("garbage") == "html":
        return [*steps, {"garbage": "html"}]
    return [*steps, {"begin": True}, *_waits(tags, "stall", "gate"), *_content(tags, text), *_ending(tags)]


def _framing(tags: Tags) -> dict[str, Any]:
    newline = "\r\n" if "crlf" in tags else "\n"
    return {"newline": newline, "split": int(tags.get("split", 0)), "merge": int(tags.get("merge", 0))}


def _waits(tags: Tags, stall: str, gate: str) -> list[Step]:
    steps: list[Step] = [{"stall": tags[stall]}] if stall in tags else []
    return [*steps, {"gate": tags[gate]}] if gate in tags else steps


def _content(tags: Tags, text: str) -> list[Step]:
    rate = float(tags.get("rate", 200))
    words = " ".join(MULTIBYTE_WORDS) if "multibyte" in tags else text
    steps: list[Step] = []
    if "reasoning" in tags:
        kind = tags.get("reasoning_field", "reasoning_content")
        steps.append({"tokens": int(tags["reasoning"]), "rate": rate, "of": words, "kind": kind})
    if "tools" in tags:
        return steps + _tool_calls(tags["tools"].split(","), reverse=tags.get("tools_order") == "reverse")
    tokens: Step = {"rate": rate, "of": words, "kind": "refusal" if "refusal" in tags else "content"}
    tokens |= {name: name in tags for name in ("clock", "empty_choices", "comments")}
    return steps + _interrupted(tags, tokens, int(tags.get("tokens", 40)))


def _interrupted(tags: Tags, tokens: Step, total: int) -> list[Step]:
    """The tokens, with whatever is to happen in the middle of them."""
    gate_after, _, gate = tags.get("gate_after", "").partition(":")
    events: list[tuple[int, Step]] = []
    if "stall_after" in tags:
        events.append((int(tags["stall_after"]), {"stall": tags.get("stall_for", "ever")}))
    if gate:
        events.append((int(gate_after), {"gate": gate}))
    if "cut" in tags:
        events.append((int(tags["cut"] or total), {"cut": tags.get("how", "fin")}))
    steps: list[Step] = []
    sent = 0
    for after, event in sorted(events, key=lambda pair: pair[0]):
        steps += [{"tokens": after - sent, "skip": sent} | tokens, event]
        sent = after
    return [*steps, {"tokens": max(total - sent, 0), "skip": sent} | tokens]


def _tool_calls(names: list[str], reverse: bool) -> list[Step]:
    """Parallel calls: first the heads, then the arguments in fragments, taken in turns."""
    order = list(enumerate(names))
    if reverse:
        order.reverse()
    heads = [
        {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": ""}}
        for index, name in order
    ]
    fragments = [
        {"index": index, "function": {"arguments": part}}
        for part in ('{"que', 'ry": "', "größe ", '{}\\"', '"}')
        for index, _ in order
    ]
    return [{"tool_call": fragment} for fragment in heads + fragments]


def _ending(tags: Tags) -> list[Step]:
    steps: list[Step] = []
    if "garbage" in tags:
        steps.append({"garbage": tags["garbage"]})
    if "stream_error" in tags:
        steps.append({"error": {"message": "The model had a fault.", "code": tags["stream_error"] or "server_error"}})
    if "usage" in tags:
        steps.append({"usage": None})
    finish = tags.get("finish", "tool_calls" if "tools" in tags else "stop")
    return [*steps, {"finish": None if finish == "none" else finish}]
