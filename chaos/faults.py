"""What is done to the system. Every fault is written to the ledger with the turns that it is to have touched."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import asyncpg
import redis
from sluiceway import keys
from sluiceway.queue.partitions import mark_of

from chaos.burden import Burden
from chaos.cluster_path import ClusterPath
from chaos.ledger import Ledger, Sign
from chaos.redis_path import RedisPath
from chaos.stack import KINDS, Kind, Stack
from harness.databases.backup import Backup
from harness.processes.services import Service

_BUSY_SECONDS = 5.0
_GRACE_SECONDS = 30.0
_FLOWING = 5
_SIGNS: dict[Kind, Sign] = {
    "gateway": "connection",
    "chat-worker": "attempt",
    "tool-runner": "event",
    "completion-consumer": "event",
}


@dataclass(frozen=True, slots=True)
class Pace:
    """`rounds`: how often a scenario's fault happens. `pause`: seconds between two. `away`: of Postgres, at most.
    `replaced`: processes of each kind that a deploy replaces. `slack_seconds`: what a turn may wait for its next text
    after its chat worker's lease has run out, or after it was released. `crowd`: how many strangers come to a gateway,
    and `stay_seconds`: how long they stay, each round."""

    rounds: int
    pause: tuple[float, float]
    away: float
    replaced: int
    slack_seconds: float
    crowd: int = 40
    stay_seconds: float = 4


@dataclass(slots=True)
class Faults:
    stack: Stack
    ledger: Ledger
    rng: random.Random
    pace: Pace
    complaints: list[str] = field(default_factory=list)
    burden: Burden | None = None

    async def pause(self) -> None:
        await asyncio.sleep(self.rng.uniform(*self.pace.pause))

    async def stay(self) -> None:
        await asyncio.sleep(self.pace.stay_seconds)

    def bears(self, burden: Burden, most_megabytes: float, most_waiting_ms: float) -> None:
        """Note what the strangers of this scenario cost; too much of it is a complaint."""
        self.burden = burden
        self.complaints += burden.beyond(most_megabytes, most_waiting_ms)

    async def kill(self, service: Service, kind: Kind) -> None:
        """kill -9, when it has something in flight."""
        touched = await self._when_busy(lambda: self._held_by(service, kind))
        self.ledger.fault(f"kill -9 {service.name}", _SIGNS[kind], touched, self._promised(kind))
        await self.stack.process_thread.do(service.kill9)

    async def kill_one(self, kind: Kind) -> None:
        """Kill one of that kind; start it again at once, or when others must have taken over what it had."""
        service = self.rng.choice(self.stack.of(kind))
        await self.kill(service, kind)
        if self.rng.random() < 0.6:
            await asyncio.sleep(self.stack.lease_seconds + 2 if kind in ("chat-worker", "tool-runner") else 1)
        await service.start()

    async def freeze_one(self, kind: Kind) -> None:
        """SIGSTOP, until others have taken over what it had; then it wakes up, and must notice."""
        service = self.rng.choice(self.stack.of(kind))
        touched = await self._when_busy(lambda: self._held_by(service, kind))
        self.ledger.fault(f"SIGSTOP {service.name}", _SIGNS[kind], touched, self._promised(kind))
        service.freeze()
        try:
            await asyncio.sleep(self.stack.lease_seconds * self.rng.uniform(1.3, 1.8) + 1)
        finally:
            service.thaw()

    async def flush(self) -> None:
        touched = await self._when_busy(self._flowing, _FLOWING)
        self.ledger.fault("FLUSHALL", "silence", touched)
        await self.stack.process_thread.do(self.stack.redis_path.primary.flush)

    async def restart_redis(self) -> None:
        """Killed, and started with nothing."""
        touched = await self._when_busy(self._flowing, _FLOWING)
        self.ledger.fault("Redis restarted", "silence", touched)
        await self.stack.process_thread.do(self.stack.redis_path.primary.stop)
        await asyncio.sleep(self.rng.uniform(0, 1))
        await self.stack.process_thread.do(self.stack.redis_path.primary.start)

    async def fail_over_redis(self) -> None:
        """To a replica that lacks the last writes, or may."""
        touched = await self._when_busy(self._flowing, _FLOWING)
        self.ledger.fault("Redis failed over", "silence", touched)
        await self.stack.redis_path.fail_over()

    async def move_slots(self) -> None:
        """Those of streams that are flowing, and that of the queue, to other primaries."""
        assert isinstance(self.stack.redis_path, ClusterPath), "the scenario is of a cluster"
        touched = await self._when_busy(self._flowing, _FLOWING)
        self.ledger.fault("slots moved", "silence", touched)
        queues = [keys.work_queue(keys.CHAT, partition) for partition in range(keys.MOST_PARTITIONS)]
        moving = [*map(keys.task_events, sorted(touched)), *queues]
        await self.stack.redis_path.move(moving)

    async def reset_connections(self) -> None:
        """Of all services to Redis: all at once, then one or another in the middle of a command."""
        touched = await self._when_busy(self._flowing, _FLOWING)
        self.ledger.fault("connections to Redis reset", "silence", touched)
        assert isinstance(self.stack.redis_path, RedisPath), "the scenario is of one address"
        await self.stack.process_thread.do(self.stack.redis_path.reset_connections)
        await self.stack.redis_path.cut_often(self.rng.uniform(1, 3))

    async def restart_postgres(self) -> None:
        """Stopped, away for a while, and started with what was committed."""
        touched = await self._when_busy(self._flowing, _FLOWING)
        self.ledger.fault("Postgres restarted", "silence", touched)
        await self.stack.process_thread.do(self.stack.postgres.stop)
        await asyncio.sleep(self.rng.uniform(0, self.pace.away))
        await self.stack.process_thread.do(self.stack.postgres.start)

    async def rewind_postgres(self) -> None:
        """Put back to where it was a little while before, as by a restore; Redis is not."""
        await self._when_busy(self._flowing, _FLOWING)
        backup = await Backup.take(self.stack.database_url)
        await asyncio.sleep(self.rng.uniform(0.5, 2))
        touched = await self._flowing()
        self.ledger.forgotten |= await backup.restore(self.stack.database_url)
        self.ledger.fault("Postgres went back", "silence", touched)

    async def replace(self, service: Service, kind: Kind) -> None:
        """As a deploy does it: SIGTERM, wait for exit 0 within the grace period, start the new one."""
        touched = await self._held_by(service, kind)
        sign: Sign = "release" if kind == "chat-worker" else _SIGNS[kind]
        promised = self.pace.slack_seconds if kind == "chat-worker" else None
        self.ledger.fault(f"SIGTERM {service.name}", sign, touched, promised)
        try:
            code = await service.terminate(_GRACE_SECONDS)
        except AssertionError as error:
            self.complaints.append(str(error).partition("\n")[0])
        else:
            if code != 0:
                self.complaints.append(f"{service.name} ended with {code} after SIGTERM")
        await service.start()

    async def deploy(self) -> None:
        for kind in KINDS:
            for service in self.stack.of(kind)[: self.pace.replaced]:
                await self.replace(service, kind)

    async def kill_everything(self) -> None:
        """Every service, and Redis with all that it held, at once."""
        touched = await self._when_busy(self._flowing, _FLOWING)
        self.ledger.fault("everything killed", "silence", touched)
        for service in self.stack.services.all:
            await self.stack.process_thread.do(service.kill9)
        await self.stack.process_thread.do(self.stack.redis_path.primary.stop)
        await self.stack.process_thread.do(self.stack.redis_path.primary.start)
        await self.stack.start_again()

    async def mend(self) -> None:
        """Whatever a scenario left undone: everything runs again."""
        await self.stack.process_thread.do(self.stack.redis_path.start_again)
        await self.stack.process_thread.do(self.stack.postgres.start)
        for service in self.stack.services.all:
            if service.alive:
                service.thaw()
        await self.stack.start_again()

    def _promised(self, kind: Kind) -> float | None:
        return self.stack.lease_seconds + self.pace.slack_seconds if kind == "chat-worker" else None

    async def _when_busy(self, touched: Callable[[], Awaitable[frozenset[str]]], at_least: int = 1) -> frozenset[str]:
        """What it touches, as soon as that is so many turns; after a while also fewer, or none."""
        deadline = asyncio.get_running_loop().time() + _BUSY_SECONDS
        while True:
            found = await touched()
            if len(found) >= at_least or asyncio.get_running_loop().time() > deadline:
                return found
            await asyncio.sleep(0.05)

    async def _open(self) -> frozenset[str]:
        return frozenset(turn.task_id for turn in self.ledger.open_turns if turn.task_id is not None)

    async def _flowing(self) -> frozenset[str]:
        """Those of which clients see something."""
        seen = (turn for turn in self.ledger.open_turns if turn.views and turn.views[-1].events)
        return frozenset(turn.task_id for turn in seen if turn.task_id is not None)

    async def _held_by(self, service: Service, kind: Kind) -> frozenset[str]:
        """The tasks that depend on this process just now; none where nobody can say."""
        match kind:
            case "gateway":
                at = self.stack.gateways.index(service.url)
                following = (turn for turn in self.ledger.open_turns if turn.opened and turn.opened[-1][1] == at)
                return frozenset(turn.task_id for turn in following if turn.task_id is not None)
            case "chat-worker":
                return await self._turns_held_by(service)
            case "tool-runner":
                return await self._found(
                    "status = 'running' AND split_part(runner, '/', 1) = $1", service.environment["WORKER_NAME"]
                )
            case "completion-consumer":
                return await self._found("status IN ('running', 'accepted')")

    async def _turns_held_by(self, service: Service) -> frozenset[str]:
        task_ids = sorted(await self._open())
        try:
            async with self.stack.redis() as client, client.pipeline(transaction=False) as pipeline:
                consumer = service.environment["WORKER_NAME"]
                for task_id in task_ids:
                    pipeline.hmget(keys.task_meta(task_id), "held", "status")
                for partition in range(keys.MOST_PARTITIONS):
                    queue = keys.work_queue(keys.CHAT, partition)
                    pipeline.xpending_range(queue, keys.GROUP, "-", "+", 10_000, consumer)
                answers = await pipeline.execute(raise_on_error=False)
        except redis.RedisError:
            return frozenset()
        pending = [told if isinstance(told, list) else [] for told in answers[len(task_ids) :]]
        ids = {
            entry["message_id"] + mark_of(partition) for partition, entries in enumerate(pending) for entry in entries
        }
        found = [told for told in zip(task_ids, answers, strict=False) if isinstance(told[1], list)]
        return frozenset(task_id for task_id, (held, status) in found if held in ids and status == "running")

    async def _found(self, condition: str, *arguments: str) -> frozenset[str]:
        try:
            connection = await asyncpg.connect(self.stack.database_url)
        except (OSError, asyncpg.PostgresError):
            return frozenset()
        try:
            rows = await connection.fetch(f"SELECT DISTINCT task_id FROM operations WHERE {condition}", *arguments)
        finally:
            await connection.close()
        return frozenset(row["task_id"] for row in rows)
