"""What is asked in a chaos run. Everything that must come of a question follows from its text, for all who read it.

The text is the question as JSON. No word of an answer occurs twice, so a checker can tell a piece that is missing from
one that came again.
"""

import json
import random
from dataclasses import asdict, dataclass
from typing import Any, Literal

from chaos.hostile_web import PATHS

Kind = Literal["plain", "tools", "long", "webhook", "slow", "large", "poison", "endless", "hostile"]
Poison = Literal["", "nul", "surrogate", "thoughts", "usage", "torn"]

# What the workers of a run are told; an endless answer ends there.
MAX_ANSWER_CHARS = 300_000
_POISONS: tuple[Poison, ...] = ("nul", "surrogate", "thoughts", "usage", "torn")
# What the stored answer has in the place of each character that nobody can store.
REPLACED = "\ufffd"

# Characters of one to four bytes, so that a cut in the middle of one would show.
_SPICE = ("", "ß", "Ωμ", "東", "🌊", "é")
_REPEATABLE = frozenset({"look_up", "long_walk", "http_operation", "web_fetch", "h__huge"})


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call that the model makes. `output`: what the tool must answer. `fails`: it must end with such an error
    instead, or, where that is empty, in whatever way, as long as it ends."""

    tool: str
    arguments: dict[str, Any]
    output: Any
    fails: str | None = None

    @property
    def repeatable(self) -> bool:
        """One that is not may end as interrupted instead, and must never have run twice."""
        return self.tool in _REPEATABLE

    @property
    def effect(self) -> str | None:
        """The line that the tool leaves behind each time that it runs, where it leaves one."""
        return self.arguments["text"] if self.tool == "tally" else None


@dataclass(frozen=True, slots=True)
class Question:
    """`words`: of each step's text. `rounds`: the calls after each step but the last. `rate`: words a second. `poison`:
    what else the model says, that it should not."""

    key: str
    words: tuple[int, ...]
    rounds: tuple[tuple[Call, ...], ...] = ()
    rate: float = 25
    poison: Poison = ""

    @property
    def text(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @staticmethod
    def read(text: str) -> "Question":
        """The question that has this text. Raises ValueError, KeyError, TypeError for any other text."""
        known = json.loads(text)
        rounds = tuple(tuple(Call(**call) for call in calls) for calls in known["rounds"])
        return Question(known["key"], tuple(known["words"]), rounds, known["rate"], known["poison"])

    @property
    def steps(self) -> list[str]:
        """The text of each step."""
        texts, first = [], 0
        for words in self.words:
            numbers = range(first, first + words)
            texts.append("".join(f"{self.key}.{number}{self._spice(number)} " for number in numbers))
            first += words
        return texts

    @property
    def answer(self) -> str:
        return "".join(self.steps)[:MAX_ANSWER_CHARS]

    def _spice(self, number: int) -> str:
        poisoned = self.poison in ("nul", "surrogate") and number % 3 == 0
        return (REPLACED if poisoned else "") + _SPICE[number % len(_SPICE)]

    @property
    def calls(self) -> list[Call]:
        return [call for calls in self.rounds for call in calls]


def ask(key: str, kind: Kind, rng: random.Random, web: str = "") -> Question:
    """A question of that kind. The same key, kind and state of `rng`: the same question. `web`: where hostile pages
    are."""
    rate = rng.uniform(15, 40)
    match kind:
        case "plain":
            return Question(key, (rng.randint(20, 80),), rate=rate)
        case "slow":
            return Question(key, (rng.randint(300, 400),), rate=12)
        case "large":
            return Question(key, (rng.randint(4_000, 8_000),), rate=4_000)
        case "poison":
            poison = rng.choice(_POISONS)
            if rng.random() < 0.5:
                return Question(key, (rng.randint(20, 80),), rate=rate, poison=poison)
            return Question(key, _words(rng, 2), ((_look_up(f"{key}:p"),),), rate, poison)
        case "endless":
            return Question(key, (MAX_ANSWER_CHARS // 12,), rate=1_500)
        case "hostile":
            path = rng.choice(PATHS)
            read = Call("web_fetch", {"url": f"{web}{path}?{key}"}, None, fails="")
            huge = Call("h__huge", {}, None, fails="RESULT_TOO_LARGE")
            return Question(
                key, _words(rng, 2), (((huge if rng.random() < 0.4 else read), _look_up(f"{key}:h")),), rate
            )
        case "tools":
            first = (_look_up(f"{key}:a"), _tally(f"{key}:b", rng.uniform(0.05, 0.6)))
            return Question(key, _words(rng, 3), (first, (_look_up(f"{key}:c"),)), rate)
        case "long":
            return Question(key, _words(rng, 2), ((_long_walk(f"{key}:l", rng.uniform(1, 3)),),), rate)
        case "webhook":
            late = rng.random() < 0.2
            handed = _hand_over(f"{key}:w", rng.uniform(2, 4) if late else rng.uniform(0, 1), rng.random() < 0.4)
            return Question(key, _words(rng, 2), ((handed, _look_up(f"{key}:v")),), rate)


def _words(rng: random.Random, steps: int) -> tuple[int, ...]:
    return tuple(rng.randint(8, 30) for _ in range(steps))


def _look_up(text: str) -> Call:
    return Call("look_up", {"text": text}, {"found": text})


def _tally(text: str, seconds: float) -> Call:
    return Call("tally", {"text": text, "seconds": round(seconds, 2)}, {"counted": text})


def _long_walk(text: str, seconds: float) -> Call:
    return Call("long_walk", {"text": text, "seconds": round(seconds, 2)}, {"walked": text})


def _hand_over(text: str, seconds: float, twice: bool) -> Call:
    given = {"text": text, "seconds": round(seconds, 2), "twice": twice}
    return Call("http_operation", {"service": "outside", "input": given}, {"text": text, "seconds": round(seconds, 2)})
