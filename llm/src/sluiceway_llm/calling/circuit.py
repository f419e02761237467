"""Circuit breakers: what is away is asked by one call now and then, and not by every call of the process. Each server
has one, and each of its models.

Guarantees
- A call that is silent for too long opens the circuit at once, other signs of a server that is away (no connection,
  502, 503, 504, 529) do after a few in a row; unless the model has answered another call since that one began.
- An open circuit refuses calls (`ModelAway`, with the time after which to come again). When its time is over, one call
  tries: its answer closes the circuit, its failure opens it again, for longer, up to a cap.
- Whatever a server answers that is there closes it: also a refusal. 429 and 500 say nothing of it being away.
- A server that cannot be reached is away with all of its models: one of them finds that out for the others. What it
  says of one model (503, silence) closes no other model's way, and nothing that it does another server's.

Each process has its own: nothing is shared, so nothing can break between processes.
"""

import random
import time
from collections.abc import Callable
from typing import Literal

from sluiceway_llm.model_errors import ModelEndedBadly, ModelError, ModelTimeout, ModelUnavailable

_FAILURES = 3
_FIRST_SECONDS = 0.5
_CAP_SECONDS = 15.0
_TRIAL_SECONDS = 1.0
"""When to come again while another call tries."""
_AWAY = frozenset({None, 502, 503, 504, 529})

State = Literal["closed", "open", "trying"]


class ModelAway(ModelUnavailable):
    """Not asked: the model was away a moment ago. It costs no request."""


class Circuit:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._opened = 0
        self._open_until: float | None = None
        self._trial: Asking | None = None
        self._answered_at = float("-inf")

    @property
    def state(self) -> State:
        if self._open_until is None:
            return "closed"
        return "open" if self._trial is None else "trying"

    @property
    def asked_again_seconds(self) -> float:
        """For how long it refuses calls."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - self._clock())

    def ask(self) -> "Asking":
        """A call is about to begin. Raises ModelAway."""
        if self._open_until is None:
            return Asking(self, self._clock())
        if (left := self.asked_again_seconds) > 0:
            raise ModelAway(retry_after_seconds=left)
        if self._trial is not None:
            raise ModelAway(retry_after_seconds=_TRIAL_SECONDS)
        self._trial = Asking(self, self._clock())
        return self._trial

    def answered(self) -> None:
        self._failures, self._opened, self._open_until, self._trial = 0, 0, None, None
        self._answered_at = self._clock()

    def failed(self, asking: "Asking", error: ModelError) -> None:
        tried = asking is self._trial
        if asking.began < self._answered_at or (self._open_until is not None and not tried):
            return
        self._failures += 1
        if tried or isinstance(error, ModelTimeout) or self._failures >= _FAILURES:
            self._open(error.retry_after_seconds or 0.0)

    def left(self, asking: "Asking") -> None:
        if asking is self._trial:
            self._trial = None

    def _open(self, told_seconds: float) -> None:
        longest = min(_CAP_SECONDS, _FIRST_SECONDS * 2.0 ** min(self._opened, 30))
        seconds = longest * random.uniform(0.5, 1)  # noqa: S311 - jitter, not a secret
        self._opened += 1
        self._trial = None
        self._open_until = self._clock() + max(seconds, min(told_seconds, _CAP_SECONDS))


class Asking:
    """One call. What is said of it first counts."""

    def __init__(self, circuit: Circuit, began: float) -> None:
        self.began = began
        self._circuit: Circuit | None = circuit

    def answered(self) -> None:
        if (circuit := self._taken()) is not None:
            circuit.answered()

    def failed(self, error: ModelError) -> None:
        circuit = self._taken()
        if circuit is None:
            return
        if is_away(error):
            circuit.failed(self, error)
        elif error.status is not None and error.status != 500:
            circuit.answered()
        circuit.left(self)

    def left(self) -> None:
        """It was given up, and says nothing of the model."""
        if (circuit := self._taken()) is not None:
            circuit.left(self)

    def _taken(self) -> Circuit | None:
        circuit, self._circuit = self._circuit, None
        return circuit


class Circuits:
    """Of all servers, and of their models."""

    def __init__(self) -> None:
        self._servers: dict[str, Circuit] = {}
        self._models: dict[tuple[str, str], Circuit] = {}

    def ask(self, server: str, model: str) -> "AskingModel":
        """A call is about to begin. Raises ModelAway."""
        whole = self._servers.setdefault(server, Circuit()).ask()
        try:
            return AskingModel(whole, self._models.setdefault((server, model), Circuit()).ask())
        except ModelAway:
            whole.left()
            raise

    def closed_way(self, server: str, model: str) -> Circuit | None:
        """What keeps calls from this model: its server's circuit, or its own; None: nothing."""
        both = (self._servers.get(server), self._models.get((server, model)))
        return next((one for one in both if one is not None and one.state != "closed"), None)


class AskingModel:
    """One call, of a model and so of its server. What is said of it first counts."""

    def __init__(self, server: Asking, model: Asking) -> None:
        self._server = server
        self._model = model

    def answered(self) -> None:
        self._server.answered()
        self._model.answered()

    def failed(self, error: ModelError) -> None:
        if not error.reached:
            self._server.failed(error)
            self._model.left()
            return
        if error.status is not None:
            self._server.answered()
        self._server.left()
        self._model.failed(error)

    def left(self) -> None:
        """It was given up, and says nothing of either."""
        self._server.left()
        self._model.left()


def is_away(error: ModelError) -> bool:
    return isinstance(error, ModelUnavailable) and not isinstance(error, ModelEndedBadly) and error.status in _AWAY
