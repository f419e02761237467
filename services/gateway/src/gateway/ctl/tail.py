"""`sluicewayctl tail TASK`: what happens in a turn, as it happens, without what is said in it."""

import argparse
import time
from datetime import datetime

from gateway.ctl.client import OpsClient

_LOOK_SECONDS = 0.5
_SILENT_SECONDS = 3.0


def add_to(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task_id")
    parser.add_argument("--seconds", type=float, default=600, help="stop looking after that time")
    parser.set_defaults(ask=_tail)


def _tail(asked: argparse.Namespace) -> int:
    """0 where the turn has ended, 1 where the time was over before."""
    with OpsClient.from_environment() as ops:
        return _Tail(ops, asked.task_id).follow(asked.seconds)


class _Tail:
    def __init__(self, ops: OpsClient, task_id: str) -> None:
        self._ops = ops
        self._task_id = task_id
        self._after = "0-0"
        self._told = ""

    def follow(self, seconds: float) -> int:
        began = heard = time.monotonic()
        while time.monotonic() - began < seconds:
            if self._look():
                self._explain()
                return 0
            now = time.monotonic()
            if self._heard:
                heard = now
            elif now - heard >= _SILENT_SECONDS:
                self._explain()
                heard = now
            time.sleep(_LOOK_SECONDS)
        return 1

    def _look(self) -> bool:
        """Show what is new. True: it has ended, and there is no more."""
        answer = self._ops.get(f"/turns/{self._task_id}/events", after=self._after)
        for one in answer["events"]:
            times = f" x{one['count']}" if one["count"] > 1 else ""
            _say(f"{one['last_id']:>10}  {one['type']}{times}  {one['bytes']} bytes  {one['detail']}".rstrip())
        self._heard = bool(answer["events"])
        self._after = answer["last_id"]
        return bool(answer["whole"])

    def _explain(self) -> None:
        sentence = self._ops.get(f"/turns/{self._task_id}/explanation")["sentence"]
        if sentence != self._told:
            _say(f"{'':>10}  {sentence}")
        self._told = sentence


def _say(line: str) -> None:
    print(f"{datetime.now():%H:%M:%S}  {line}", flush=True)
