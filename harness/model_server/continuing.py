"""Requests whose last message is the beginning of the answer, in the shapes that real servers take.

The answer goes on where the beginning stops, and only what is new counts as sent tokens: a test can add up what was
generated. What a step of the plan says before that place, and what it waits for there, is left out.

    {"role": "assistant", "content": "…"}                  as the last message: llama.cpp, OpenRouter
    the same, `continue_final_message` and no `add_generation_prompt`: vLLM, SGLang; with both: 400
    {"role": "assistant", "content": "…", "prefix": true}: Mistral, DeepSeek
"""

import re
from itertools import islice
from typing import Any

from harness.model_server.answers import last_user_text, words_of

Step = dict[str, Any]
_WAITS = ("stall", "gate", "cut", "status", "drop")


def beginning_of(body: dict[str, Any]) -> str | None:
    """How the answer is to begin, trimmed as templates do it; None: the request is an ordinary one."""
    messages = body.get("messages") or []
    last = messages[-1] if messages else {}
    return str(last.get("content") or "").lstrip() if last.get("role") == "assistant" else None


def refusal_of(body: dict[str, Any]) -> list[Step] | None:
    """What vLLM answers to flags that contradict each other."""
    continuing, anew = body.get("continue_final_message", False), body.get("add_generation_prompt", True)
    return [{"status": "400"}] if continuing and anew else None


def continued(steps: list[Step], beginning: str, body: dict[str, Any], tags: dict[str, str]) -> list[Step]:
    """The steps that are left of the answer. `tags`: `prefix=echo` repeats the beginning first, `prefix=echo_words`
    word by word, `prefix=refuse` is a 400, `prefix=template_error` a 500, `prefix=ignore` begins anew."""
    how = tags.get("prefix", "")
    if how in ("refuse", "template_error"):
        return [{"status": "400" if how == "refuse" else "500"}]
    left = None if how == "ignore" else _left(_single(steps, body), beginning)
    if left is None:
        return steps
    pieces = re.findall(r"\s*\S+", beginning) if how == "echo_words" else [beginning]
    echoes = [{"echo": piece} for piece in pieces] if how.startswith("echo") else []
    return [step for step in steps if "framing" in step] + echoes + left


def _single(steps: list[Step], body: dict[str, Any]) -> list[Step]:
    """The same answer with a step for each word."""
    single: list[Step] = []
    for step in steps:
        if "tokens" in step and step.get("kind", "content") == "content":
            skip = int(step.get("skip", 0))
            words = islice(words_of(step.get("of") or last_user_text(body)), skip, skip + int(step["tokens"]))
            single += [step | {"tokens": 1, "words": [word]} for word in words]
        elif "text" in step:
            single.append({"tokens": 1, "words": [step["text"]], "rate": 0})
        elif "framing" not in step:
            single.append(step)
    return single


def _left(steps: list[Step], beginning: str) -> list[Step] | None:
    """What comes behind the beginning; None where the answer would begin otherwise."""
    said = ""
    for place, step in enumerate(steps):
        said += "".join(step.get("words", ()))
        if not beginning.startswith(said.rstrip()) and not said.startswith(beginning):
            return None
        if len(said.rstrip()) >= len(beginning):
            torn = said[len(beginning) :]
            behind = steps[place + 1 :]
            while behind and any(name in behind[0] for name in _WAITS):
                behind.pop(0)
            return _with_torn(torn, step, behind)
    return None


def _with_torn(torn: str, step: Step, behind: list[Step]) -> list[Step]:
    """A token that the beginning had only a part of. Blanks go with the token that follows."""
    if torn.strip():
        return [step | {"words": [torn]}, *behind]
    if behind and "words" in behind[0]:
        return [behind[0] | {"words": [torn + behind[0]["words"][0]]}, *behind[1:]]
    return behind
