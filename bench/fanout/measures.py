"""What is measured. Each function gives one number; medians are made of several of them."""

from dataclasses import dataclass

from bench.fanout.load import Load, LoadFailed
from bench.fanout.stage import Server, Stage

SUBSCRIBERS = 1000
REPLAYED = 500
TURN = 10_000
P99_MS = 100.0
STEP = 1.2
_WARM_MS, _MEASURE_MS = 500, 2000
_HIGHEST_RATE = 400_000
_LOWEST_RATE = 200


@dataclass(frozen=True)
class Bench:
    stage: Stage
    load: Load

    def holds(self, server: Server, rate: int) -> bool:
        """Whether so many events a second reach their subscribers, whole and in order, at a p99 below the bound."""
        stage = self.stage
        answer = self.load.run(
            "follow", stage.redis_port, stage.key, server.port, server.path, SUBSCRIBERS, rate, _WARM_MS, _MEASURE_MS
        )
        if answer["gaps"]:
            raise LoadFailed(f"{server.name}: {answer['gaps']} events came twice or out of order")
        took = answer["published_per_second"] > 0.97 * rate
        return took and not answer["missing"] and bool(answer["p99_ms"] < P99_MS)

    def highest_rate(self, server: Server, start: int) -> int:
        """The highest rate of delivered events a second that holds, found in steps from `start`."""
        rate = start
        if self.holds(server, rate):
            while rate < _HIGHEST_RATE and self.holds(server, round(rate * STEP)):
                rate = round(rate * STEP)
            return rate
        while rate > _LOWEST_RATE:
            rate = round(rate / STEP)
            if self.holds(server, rate):
                return rate
        return 0

    def kilobytes_per_stream(self, server: Server) -> float:
        """Resident memory of the process that so many open streams add, for each. Needs a server of its own."""
        with self.load.open_streams(server.port, server.path, 10):
            pass
        before = server.memory_bytes()
        with self.load.open_streams(server.port, server.path, SUBSCRIBERS):
            return (server.memory_bytes() - before) / SUBSCRIBERS / 1024

    def connections(self, server: Server, subscribers: int) -> int:
        """Open connections to Redis, once those of the crowd before are gone: at most one blocking read later."""
        with self.load.open_streams(server.port, server.path, subscribers):
            return self.stage.connections_at_rest()

    def fill(self, streams: int, entries: int, *, finished: bool) -> None:
        self.load.run("fill", self.stage.redis_port, self.stage.key, streams, entries, int(finished))

    def storm_seconds(self, server: Server) -> float:
        """All clients come back at once and want the same number of events each."""
        return self._replay(server, SUBSCRIBERS, REPLAYED)

    def replay_ms(self, server: Server) -> float:
        return 1000 * self._replay(server, 1, TURN)

    def _replay(self, server: Server, streams: int, entries: int) -> float:
        answer = self.load.run("replay", server.port, server.path, streams, entries)
        if answer["gaps"] or answer["events"] != streams * entries:
            raise LoadFailed(f"{server.name}: a replay was not what was written: {answer}")
        return float(answer["seconds"])
