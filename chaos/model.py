"""The model of a chaos run: `python -m chaos.model` prints `{"port": N}` and answers questions of questions.py.

It is the tests' model server; what it says follows from the question and from how much of the turn its request holds.
A poisoned answer has characters that nobody can store, absurd thoughts and usage, or comes in torn pieces.
It checks that history: a request that lacks a tool's result, or has it twice, is refused for good (400), so its turn
fails. Where a tool that it means to call is not offered, as just after a flush, or where it is told to call none (a
request whose history has calls names their tools all the same), it says the rest of its answer without.
"""

import json
from itertools import count
from typing import Any

import uvloop

from chaos.questions import REPLACED, Call, Poison, Question
from harness.model_server.__main__ import serve
from harness.model_server.answers import last_user_text
from harness.model_server.connection import State
from harness.model_server.plan import Plans, Step

Messages = list[dict[str, Any]]
LINE_ENDS = "\u2028\u2029\x85"


class Answers(Plans):
    """Instead of scripts and tags."""

    def __init__(self) -> None:
        super().__init__()
        # A model's calls have ids of their own each time that it is asked.
        self._call_ids = count(1)

    def steps_for(self, path: str, body: Any) -> list[Step]:
        if not path.endswith("/chat/completions"):
            return []
        try:
            question = Question.read(last_user_text(body))
        except (ValueError, KeyError, TypeError):
            return [{"begin": True}, {"text": "A title"}]
        since = _since_the_question(body["messages"])
        wrong = _wrong_in(since, question)
        if wrong is not None:
            return [_refusal(400, wrong)]
        return self._steps(question, sum(bool(message.get("tool_calls")) for message in since), since, body)

    def _steps(self, question: Question, step: int, since: Messages, body: Any) -> list[Step]:
        offered = {tool["function"]["name"] for tool in body.get("tools") or []}
        calls = question.rounds[step] if step < len(question.rounds) else ()
        may_call = body.get("tool_choice") != "none"
        equipped = may_call and all(call.tool in offered for call in calls)
        text = question.steps[step] if equipped else "".join(question.steps[step:])
        said = _prefix_of(since)
        if not text.startswith(said):
            return [_refusal(400, f"the prefix {said!r} is not of this answer")]
        left = text[len(said) :]
        words = {"tokens": len(left.split()), "rate": question.rate, "of": poisoned(left, question.poison)}
        beginning = [*_framing(question.poison), {"begin": True}, *_thoughts(question.poison)]
        usage = _usage(question.poison)
        if not calls or not equipped:
            return [*beginning, words, *usage, {"finish": "stop"}]
        named = [{"tool_call": self._tool_call(index, call)} for index, call in enumerate(calls)]
        return [*beginning, words, *usage, *named, {"finish": "tool_calls"}]

    def _tool_call(self, index: int, call: Call) -> dict[str, Any]:
        function = {"name": call.tool, "arguments": json.dumps(call.arguments, ensure_ascii=False)}
        return {"index": index, "id": f"call_{next(self._call_ids)}", "type": "function", "function": function}


def poisoned(text: str, poison: Poison) -> str:
    """The text as the model says it, of which the stored answer has `REPLACED`."""
    return text.replace(REPLACED, "\ud800" if poison == "surrogate" else "\x00") if poison else text


def _framing(poison: Poison) -> list[Step]:
    return [{"framing": {"split": 7}}] if poison == "torn" else []


def _thoughts(poison: Poison) -> list[Step]:
    return [{"reasoning": f"hm \x00 \udfff {LINE_ENDS}"}] if poison == "thoughts" else []


def _usage(poison: Poison) -> list[Step]:
    """Numbers that are none, and a name of the model that nobody can store."""
    if poison != "usage":
        return []
    absurd = '"prompt_tokens": "many", "completion_tokens": 1e999, "total_tokens": -1'
    return [{"raw": f'data: {{"choices": [], "model": "m\\u0000\\ud800", "usage": {{{absurd}}}}}\n\n'}, {"usage": None}]


def _since_the_question(messages: Messages) -> Messages:
    asked = max(place for place, message in enumerate(messages) if message["role"] == "user")
    return messages[asked + 1 :]


def _prefix_of(since: Messages) -> str:
    """What the answer is to be continued from, where the last message says it."""
    last = since[-1] if since else {}
    return str(last.get("content") or "") if last.get("role") == "assistant" and not last.get("tool_calls") else ""


def _wrong_in(since: Messages, question: Question) -> str | None:
    """What is wrong with the calls and results since the question; None: nothing."""
    called = [call for message in since for call in message.get("tool_calls") or []]
    answered = [message["tool_call_id"] for message in since if message["role"] == "tool"]
    if [call["id"] for call in called] != answered:
        return f"calls {[call['id'] for call in called]}, results {answered}"
    names = [call["function"]["name"] for call in called]
    expected = [call.tool for call in question.calls][: len(names)]
    return None if names == expected else f"called {names}, meant {expected}"


def _refusal(status: int, message: str) -> Step:
    return {"status": status, "body": {"error": {"message": message, "type": "chaos", "code": None}}}


def state() -> State:
    answers = State()
    answers.plans = Answers()
    return answers


def main() -> None:
    uvloop.run(serve("127.0.0.1", 0, state()))


if __name__ == "__main__":
    main()
