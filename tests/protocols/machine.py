"""The small protocols under random interleavings: a base for state machines on real servers.

Every machine of this folder drives the real classes, Lua scripts and statements on a real Valkey or Postgres, in an
order that hypothesis draws, and looks at what the server has after each step. Nothing is checked against a second
implementation: what must hold is said as relations between the server's state before, after, and what was answered.
Steps run one after the other, since a script or a statement is what the server never splits; rules named `race…` start
several calls of more than one round trip at once, on connections of their own.

    make test                                              a fixed number of examples, the same ones each time
    PROTOCOL_EXAMPLES=5000 pytest tests/protocols -s       other ones each time, that many of each machine
    PROTOCOL_BLOB='6.170.15 AXic…' pytest tests/protocols -k leases
                                                           the failure whose `@reproduce_failure` a run has printed
Not guaranteed: that a race ends again as it did. The steps come again with their blob; who is first, the server says.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

from hypothesis import HealthCheck, Phase, reproduce_failure, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

T = TypeVar("T")

_ASKED = os.environ.get("PROTOCOL_EXAMPLES")
_BLOB = os.environ.get("PROTOCOL_BLOB")


class Machine(RuleBasedStateMachine):
    """Rules are plain functions; what they await runs on the loop of the test, which all examples share."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop

    def run(self, awaitable: Awaitable[T]) -> T:
        return self._loop.run_until_complete(awaitable)

    def finish(self) -> None:
        """What must come true at the end of every example, from wherever it stands."""

    def teardown(self) -> None:
        # hypothesis tears down after failures too; what it found must not be covered by what follows from it.
        if sys.exc_info()[0] is None:
            self.finish()


def play(machine: Callable[[], Machine], *, examples: int, steps: int) -> None:
    """Run a machine, and fail with the shortest sequence of steps that was found to break a promise."""
    asked = settings(
        max_examples=int(_ASKED or examples),
        stateful_step_count=steps,
        derandomize=_ASKED is None,
        database=None,
        deadline=None,
        print_blob=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    if _BLOB:
        version, blob = _BLOB.split()
        reproduce_failure(version, blob.encode())(machine)
    run_state_machine_as_test(machine, settings=asked)  # type: ignore[arg-type]  # any callable is taken
