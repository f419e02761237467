"""A case of a cut connection: the statement whose transaction is cut, and what is played around it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.chaos.cuts.stage import CutStage

Arm = Callable[[], None]
Play = Callable[[CutStage, Arm], Awaitable[None]]


@dataclass(frozen=True)
class Case:
    """`statement`: in the transaction that is cut. `play` arms the cut when all before it is done. `refused`: the
    caller of a route sees it; None: or nobody does, where the reconciler came first."""

    name: str
    statement: str
    play: Play
    refused: bool | None = False


class Cases(list[Case]):
    """The cases of a module, in the order in which they stand there."""

    def of(self, statement: str, *, refused: bool | None = False) -> Callable[[Play], Play]:
        def register(play: Play) -> Play:
            self.append(Case(play.__name__.removeprefix("_"), statement, play, refused))
            return play

        return register
