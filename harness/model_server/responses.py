"""The Responses API in the background mode: answers that are made whether anybody reads them or not, and are kept.

    POST /v1/responses              with `background`, `stream` and `store`: an answer by the same plans as a chat's
    GET  /v1/responses/ID?stream=true&starting_after=N     its events behind that number, from the first without it
    GET  /v1/responses/ID           all of it, as it stands
    POST /v1/responses/ID/cancel    it is made no further

The record of the POST counts the tokens that were made, so what several readers got is counted once. Of the steps of a
plan these are known: tokens, text, reasoning, refusal, tool_call, stall, gate, finish, usage, error, status; and `cut`,
which breaks the connections of those who read, while the answer goes on being made. `{"forget": true}` forgets it;
`{"age": true}` makes it older than five minutes: it is not streamed any more to those who come back.
"""

import asyncio
from itertools import islice
from typing import Any

from harness.model_server.answers import CREATED, as_json, error_response, last_user_text, usage, words_of
from harness.model_server.record import Record
from harness.model_server.reply import Reply

Step = dict[str, Any]
_DELTAS = {
    "content": "response.output_text.delta",
    "refusal": "response.refusal.delta",
    "reasoning_content": "response.reasoning_summary_text.delta",
}


def as_chat(body: dict[str, Any]) -> dict[str, Any]:
    """The request as a chat's, for the plans."""
    items = body.get("input") or []
    return {"messages": [item for item in items if item.get("role")], "model": body.get("model")}


class Answer:
    """One answer on its way. `events` are numbered by their place."""

    def __init__(self, record: Record, gates: Any) -> None:
        self.id = f"resp_{record.number}"
        self.events: list[bytes] = []
        self.over = False
        self.forgotten = False
        self.aged = False
        self.output: list[dict[str, Any]] = []
        self.whole: dict[str, Any] = {}
        self.grown = asyncio.Condition()
        self.readers: set[Reply] = set()
        self._record = record
        self._gates = gates
        self._chat = as_chat(record.body)
        self._items = 0
        self._kind = ""
        self._calls: dict[int, int] = {}
        self._finish = "stop"

    def response(self, status: str, **more: Any) -> dict[str, Any]:
        head = {"id": self.id, "object": "response", "created_at": CREATED, "model": self._chat["model"]}
        self.whole = head | {"status": status, "background": True} | more
        return self.whole

    async def make(self, steps: list[Step]) -> None:
        await self._say("response.created", response=self.response("queued"))
        await self._say("response.in_progress", response=self.response("in_progress"))
        for step in steps:
            await self._play(step)
            if self.over:
                return
        more = {"incomplete_details": {"reason": "max_output_tokens"}} if self._finish == "length" else {}
        status = "incomplete" if more else "completed"
        await self._say(f"response.{status}", response=self.response(status, usage=self._usage(), **more), last=True)

    async def end(self) -> None:
        async with self.grown:
            self.over = True
            self.grown.notify_all()

    async def read(self, reply: Reply, after: int) -> None:
        """Send what comes behind that number, until the answer is over."""
        self.readers.add(reply)
        reply.begin()
        place = after + 1
        try:
            while True:
                async with self.grown:
                    await self.grown.wait_for(lambda: self.over or len(self.events) > place)  # noqa: B023
                    ready, over = self.events[place:], self.over
                for event in ready:
                    await reply.event(event)
                place += len(ready)
                if over and place >= len(self.events):
                    await reply.end()
                    return
        finally:
            self.readers.discard(reply)

    def tell(self, reply: Reply) -> None:
        reply.json(self.whole | {"output": self.output})

    def _usage(self) -> dict[str, Any]:
        told = usage(self._chat, self._record.tokens_sent)
        return {
            "input_tokens": told["prompt_tokens"],
            "output_tokens": told["completion_tokens"],
            "total_tokens": told["total_tokens"],
        }

    async def _say(self, kind: str, *, last: bool = False, **fields: Any) -> None:
        async with self.grown:
            self.events.append(as_json({"type": kind, "sequence_number": len(self.events), **fields}))
            self.over = last
            self.grown.notify_all()

    async def _play(self, step: Step) -> None:
        if "tokens" in step:
            skip = int(step.get("skip", 0))
            words = words_of(step.get("of") or last_user_text(self._chat))
            for word in islice(words, skip, skip + int(step["tokens"])):
                await self._delta(step.get("kind", "content"), word)
                if rate := float(step.get("rate", 200)):
                    await asyncio.sleep(1 / rate)
        elif "text" in step:
            await self._delta("content", step["text"])
        elif "reasoning" in step:
            await self._delta("reasoning_content", step["reasoning"])
        elif "refusal" in step:
            await self._delta("refusal", step["refusal"])
        elif "tool_call" in step:
            await self._call(step["tool_call"])
        elif "stall" in step:
            await (asyncio.Event().wait() if step["stall"] == "ever" else asyncio.sleep(float(step["stall"])))
        elif "gate" in step:
            await self._gates.gate(step["gate"]).wait()
        elif "finish" in step:
            self._finish = step["finish"] or "stop"
        elif "error" in step:
            await self._say("response.failed", response=self.response("failed", error=step["error"]), last=True)
        elif "cut" in step:
            for reply in list(self.readers):
                reply.close()
        elif "forget" in step:
            self.forgotten = True
        elif "age" in step:
            self.aged = True

    async def _delta(self, kind: str, text: str) -> None:
        if self._kind != kind:
            self._kind = kind
            part = {"type": "summary_text" if kind == "reasoning_content" else "output_text", "text": ""}
            field = "summary" if kind == "reasoning_content" else "content"
            self.output.append({"type": "reasoning" if field == "summary" else "message", field: [part]})
            item = {"type": "reasoning" if kind == "reasoning_content" else "message", "id": f"item_{self._items}"}
            await self._say("response.output_item.added", output_index=self._items, item=item)
            self._items += 1
        parts = self.output[-1].get("content") or self.output[-1]["summary"]
        parts[0]["text"] += text
        where: dict[str, Any] = {"output_index": self._items - 1, "item_id": f"item_{self._items - 1}"}
        await self._say(_DELTAS[kind], delta=text, **where)
        self._record.token_sent()

    async def _call(self, fragment: dict[str, Any]) -> None:
        function, index = fragment.get("function") or {}, fragment["index"]
        if index not in self._calls:
            self._calls[index], self._kind = self._items, ""
            self._items += 1
            item = {
                "type": "function_call",
                "id": f"fc_{index}",
                "call_id": fragment["id"],
                "name": function["name"],
                "arguments": "",
            }
            self.output.append(dict(item))
            await self._say("response.output_item.added", output_index=self._calls[index], item=item)
        if arguments := function.get("arguments"):
            self.output[self._calls[index]]["arguments"] += arguments
            place: dict[str, Any] = {"output_index": self._calls[index], "item_id": f"fc_{index}"}
            await self._say("response.function_call_arguments.delta", delta=arguments, **place)
        self._record.token_sent()


class Responses:
    """All answers of the server, by their ids."""

    def __init__(self) -> None:
        self._answers: dict[str, Answer] = {}
        self._making: dict[str, asyncio.Task[None]] = {}

    async def begin(self, reply: Reply, record: Record, steps: list[Step], gates: Any) -> None:
        status = next((step["status"] for step in steps if "status" in step), None)
        if status is not None:
            code, body = error_response(str(status))
            reply.json(body, code)
            return
        answer = self._answers[f"resp_{record.number}"] = Answer(record, gates)
        self._making[answer.id] = asyncio.get_running_loop().create_task(answer.make(steps))
        await answer.read(reply, -1)

    def forget(self) -> None:
        for making in self._making.values():
            making.cancel()
        self._answers, self._making = {}, {}

    async def read(self, reply: Reply, response_id: str, after: int, *, streamed: bool) -> None:
        answer = self._answers.get(response_id)
        if answer is None or answer.forgotten:
            reply.json({"error": {"message": f"Response with id '{response_id}' not found.", "code": None}}, 404)
            return
        if not streamed:
            answer.tell(reply)
        elif answer.aged:
            message = "Response cannot be streamed: it was created more than 5 minutes ago."
            reply.json({"error": {"message": message, "type": "invalid_request_error", "code": None}}, 400)
        else:
            await answer.read(reply, after)

    async def cancel(self, reply: Reply, response_id: str) -> None:
        answer = self._answers.get(response_id)
        if answer is None:
            reply.json({"error": {"message": f"Response with id '{response_id}' not found.", "code": None}}, 404)
            return
        self._making[response_id].cancel()
        await answer.end()
        reply.json(answer.response("cancelled"))
