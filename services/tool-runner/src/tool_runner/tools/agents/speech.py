"""What one agent says, while the model says it: a thought, then the output in a few pieces.

Guarantees: the pieces of an output, joined, are the output. An answer that broke off and is begun again is announced by
an action, and its pieces count from 1 again.
"""

import re

from tool_runner.tools.agents.stage import AgentStage
from tool_runner.tools.asking import Said

PIECE_CHARS = 400
_THOUGHT_CHARS = 600
_FIRST_SENTENCE = re.compile(r"^.{10,200}?[.!?:\u3002\uff01\uff1f](?=\s|$)", re.DOTALL)
# The space is the next piece's: what stands at the end of an output, and is cut off there, is in no piece.
_LAST_BREAK = re.compile(r"^.*\S(?=\s)", re.DOTALL)


class AgentSpeech:
    """`hear` what was said so far as often as there is more, then `finish`."""

    def __init__(self, stage: AgentStage, agent_name: str) -> None:
        self._stage = stage
        self._name = agent_name
        self._told = ""
        self._pieces = 0

    async def hear(self, said: Said) -> None:
        if not said.text.startswith(self._told):
            await self._stage.say(self._name, "action", "Begins again: the answer broke off.")
            self._told, self._pieces = "", 0
        rest = said.text[len(self._told) :]
        if len(rest) >= PIECE_CHARS and (found := _LAST_BREAK.match(rest)):
            await self._say(found[0], said)

    async def finish(self, said: Said) -> str:
        """The whole output, with a sign where it was cut off at its limit."""
        rest = said.text[len(self._told) :].rstrip() + (" …" if said.shortened else "")
        if rest:
            await self._say(rest, said)
        return self._told

    async def _say(self, piece: str, said: Said) -> None:
        if not self._told and not self._pieces:
            await self._stage.say(self._name, "thought", thought_of(said))
        self._pieces += 1
        self._told += piece
        await self._stage.say(self._name, "output", piece, piece=self._pieces)


def thought_of(said: Said) -> str:
    """The model's reasoning, where it tells it; else what it says first."""
    thought = said.reasoning.strip()
    if thought:
        return thought if len(thought) <= _THOUGHT_CHARS else f"{thought[:_THOUGHT_CHARS].rstrip()} …"
    text = said.text.strip()
    found = _FIRST_SENTENCE.match(text)
    return found[0] if found else text.split("\n", 1)[0][:200]
