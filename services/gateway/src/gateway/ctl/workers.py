"""`sluicewayctl drain WORKER`: let it take nothing more, and wait until it holds nothing."""

import argparse
import time
from urllib.parse import quote

from gateway.ctl.client import OpsClient

_LOOK_SECONDS = 1.0


def add_to(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("worker", help="as `ps` names it")
    parser.add_argument("--undo", action="store_true", help="let it take work again")
    parser.add_argument("--wait", type=float, default=60, metavar="SECONDS", help="until it holds nothing")
    parser.set_defaults(ask=_drain)


def _drain(asked: argparse.Namespace) -> int:
    """0 where it holds nothing, 1 where it still did when the time was over."""
    path = f"/workers/{quote(asked.worker, safe='')}/drain"
    with OpsClient.from_environment() as ops:
        print((ops.delete(path) if asked.undo else ops.post(path))["detail"])
        return 0 if asked.undo or asked.wait <= 0 else _wait(ops, asked.worker, asked.wait)


def _wait(ops: OpsClient, worker: str, seconds: float) -> int:
    began, told = time.monotonic(), None
    while True:
        holds, drained = _held(ops, worker), _is_drained(ops, worker)
        if holds != told:
            print(f"{worker} holds {holds} entries", flush=True)
            told = holds
        if drained and holds == 0:
            return 0
        if time.monotonic() - began >= seconds:
            print("It is still at work." if drained else "It has not seen the wish yet: is it alive?")
            return 1
        time.sleep(_LOOK_SECONDS)


def _held(ops: OpsClient, worker: str) -> int:
    queues = ops.get("/queues")["queues"]
    return sum(who["in_flight"] for queue in queues for who in queue["consumers"] if who["name"] == worker)


def _is_drained(ops: OpsClient, worker: str) -> bool:
    """Also one that is gone holds nothing more."""
    found = [one for one in ops.get("/processes")["processes"] if one["name"] == worker]
    return all("drained" in (one["lacks"] or "") for one in found)
