"""Which node of a Redis Cluster has which keys.

Guarantees: of the nodes that are asked at once, the one that has seen the newest configuration is believed, and one
that says that it is cut off only where no other answers; what a node says of one slot (MOVED) counts at once.
Not guaranteed: that it is so still. A node that has not got a key says so.
"""

import asyncio
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.crc import key_slot
from redis.exceptions import ClusterDownError, MovedError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from sluiceway.coalesced import Coalesced
from sluiceway.redis.asking import ask, first_answers, text_of, wants_nobody
from sluiceway.redis.url import Node, RedisUrl

SLOTS = 16384
_ASKED_AT_ONCE = 3
# A map that is in doubt is not drawn more often than this.
_PAUSE_SECONDS = 0.1
_VERSION = re.compile(r"cluster_current_epoch:(\d+)")


class NoCluster(RedisConnectionError):
    """A person has to mend it."""


def slot_of(key: str | bytes) -> int:
    return key_slot(key.encode() if isinstance(key, str) else key)


@dataclass(frozen=True, slots=True)
class View:
    """`owners`: of each slot the primary that has it, or None. `primaries`: those that have any. `nodes`: all, replicas
    too. `version`: how new that is."""

    owners: tuple[Node | None, ...]
    primaries: tuple[Node, ...]
    nodes: frozenset[Node]
    version: int

    def owner(self, slot: int) -> Node:
        """Raises ClusterDownError where nobody has it."""
        node = self.owners[slot]
        if node is None:
            raise ClusterDownError(f"no node of the cluster has slot {slot}")
        return node

    def with_owner(self, slot: int, node: Node) -> "View":
        owners = (*self.owners[:slot], node, *self.owners[slot + 1 :])
        primaries = tuple(sorted({*self.primaries, node}, key=str))
        return View(owners, primaries, self.nodes | {node}, self.version)


class SlotMap:
    """Those who draw it at the same time draw it once."""

    def __init__(self, url: RedisUrl) -> None:
        self._url = url
        self._view: View | None = None
        self._drawing: Coalesced[View] = Coalesced()
        self.close = self._drawing.close
        self._drawn_at = 0.0
        self._doubted = False

    async def view(self) -> View:
        """As last seen, or drawn again where it is in doubt. Raises what `AWAY` of `client` has."""
        if self._view is None or (
            self._doubted and asyncio.get_running_loop().time() > self._drawn_at + _PAUSE_SECONDS
        ):
            return await self.draw()
        return self._view

    async def draw(self) -> View:
        """Raises what `view` does."""
        return await self._drawing.ask(self._draw)

    def doubt(self) -> None:
        """A node is away, or is not what it was."""
        self._doubted = True

    def moved(self, error: MovedError, asked: Node) -> Node:
        """Where the slot is, as that node said. A node that gives no host means its own."""
        node = Node(error.host or asked.host, int(error.port))
        if self._view is not None and self._view.owners[error.slot_id] != node:
            self._view = self._view.with_owner(error.slot_id, node)
            self._doubted = True
        return node

    def url_of(self, node: Node) -> str:
        return self._url.url_of(node)

    async def _draw(self) -> View:
        known = list(self._view.nodes) if self._view is not None else []
        random.shuffle(known)
        errors: list[BaseException] = []
        for some in (known[:_ASKED_AT_ONCE], known[_ASKED_AT_ONCE:], list(self._url.nodes)):
            answers = await first_answers(self._ask(node) for node in some) if some else []
            views = [answer for answer in answers if isinstance(answer, View)]
            if views:
                self._view = max(views, key=lambda view: view.version)
                self._doubted = False
                self._drawn_at = asyncio.get_running_loop().time()
                return self._view
            errors += [answer for answer in answers if isinstance(answer, BaseException)]
        self._drawn_at = asyncio.get_running_loop().time()
        raise _worst(errors)

    async def _ask(self, node: Node) -> View:
        told, slots = await ask(self._url.url_of(node), ("CLUSTER", "INFO"), ("CLUSTER", "SLOTS"))
        version = _VERSION.search(text_of(told))
        if not slots:
            raise RedisConnectionError(f"{node} knows of no slots")
        # Who is cut off says that the cluster is down.
        whole = "cluster_state:ok" in text_of(told)
        return _view(slots, node, int(version[1]) if version and whole else 0)


def _worst(errors: Sequence[BaseException]) -> BaseException:
    """What a person has to mend comes first."""
    for error in errors:
        if wants_nobody(error):
            return error
        if isinstance(error, ResponseError) and "cluster support disabled" in str(error):
            return NoCluster("REDIS_URL leads to a server that is no node of a cluster: begin it with redis://")
    reasons = "; ".join(sorted({f"{type(error).__name__}: {error}" for error in errors}))
    return RedisConnectionError(f"no node of the cluster answers ({reasons})")


def _view(slots: Iterable[Any], asked: Node, version: int) -> View:
    owners: list[Node | None] = [None] * SLOTS
    nodes: set[Node] = set()
    primaries: set[Node] = set()
    for first, last, primary, *replicas in slots:
        owner = _node(primary, asked)
        owners[first : last + 1] = [owner] * (last + 1 - first)
        primaries.add(owner)
        nodes |= {owner, *(_node(one, asked) for one in replicas)}
    return View(tuple(owners), tuple(sorted(primaries, key=str)), frozenset(nodes), version)


def _node(told: Sequence[Any], asked: Node) -> Node:
    host = text_of(told[0]) if told[0] else asked.host
    return Node(host, int(told[1]))
