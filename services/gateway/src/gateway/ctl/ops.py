"""`sluicewayctl` over the routes for operators: each command is one question, answered in a table or a sentence."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.ctl import stream_check, tail, workers
from gateway.ctl.client import OpsClient, Refused

Ask = Callable[[OpsClient, argparse.Namespace], dict[str, Any]]
Show = Callable[[Mapping[str, Any]], None]


def add_to(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """One command each; all take --json."""
    _command(nouns, "queues", "how far behind the queues are", lambda ops, _: ops.get("/queues"), _show_queues)
    _command(nouns, "ps", "who is there, and what they lack", lambda ops, _: ops.get("/processes"), _show_processes)
    doctor = _command(nouns, "doctor", "whether what we stand on is fit", _doctor, _show_findings)
    stream_check.add_to(doctor)
    tail.add_to(nouns.add_parser("tail", help="what happens in a turn, as it happens"))
    workers.add_to(nouns.add_parser("drain", help="let a worker take nothing more"))

    turns = _command(nouns, "turns", "turns that have not ended", _turns, _show_turns)
    turns.add_argument("--limit", type=int)
    operations = _command(nouns, "operations", "tool calls, and what they wait for", _operations, _show_operations)
    operations.add_argument("--limit", type=int)
    for name, told, ask, show in (
        ("load", "whether workers or the model are short", _load, _show_load),
        ("top", "who began most turns, and with how many tokens", _top, _show_top),
    ):
        _command(nouns, name, told, ask, show).add_argument("--minutes", type=int)
    for name, told, ask, show in (
        ("explain", "why a turn has not ended, or how it has", _explain, _show_explanation),
        ("cancel", "cancel a turn", _cancel, _show_status),
        ("requeue", "queue a turn again that nobody has", _requeue, _show_detail),
    ):
        _command(nouns, name, told, ask, show).add_argument("task_id")
    _add_dead(nouns.add_parser("dead", help="queue entries that were given up").add_subparsers(required=True))


def _add_dead(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    listed = _command(verbs, "list", "the newest first", _letters, _show_letters)
    listed.add_argument("--queue", help="chat, completions or tools.NAME")
    listed.add_argument("--limit", type=int)
    for name, told, ask, show in (
        ("show", "one, with what it said", _letter, _show_letter),
        ("replay", "do what it asked for", _replay, _show_detail),
        ("remove", "forget it", _remove, _show_removed),
    ):
        _command(verbs, name, told, ask, show).add_argument("number", type=int)
    edit = _command(verbs, "edit", "let one say something else", _edit, _show_detail)
    edit.add_argument("number", type=int)
    edit.add_argument("--file", type=argparse.FileType("r"), default="-", help="the job as JSON; else from stdin")
    edit.add_argument("--replay", action="store_true", help="and replay it")
    purge = _command(verbs, "purge", "forget all of a queue", _purge, _show_removed)
    purge.add_argument("queue")
    purge.add_argument("--older-than-hours", type=float)


def _command(
    parent: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, told: str, ask: Ask, show: Show
) -> argparse.ArgumentParser:
    parser = parent.add_parser(name, help=told, description=told)
    parser.add_argument("--json", action="store_true", help="as the gateway answers it")

    def run(asked: argparse.Namespace) -> int:
        if getattr(asked, "what", None) == "stream":
            return stream_check.check(asked)
        with OpsClient.from_environment() as ops:
            answer = ask(ops, asked)
        if asked.json:
            print(json.dumps(answer, indent=2, ensure_ascii=False))
        else:
            show(answer)
        return 0 if answer.get("ok", True) else 1

    parser.set_defaults(ask=run)
    return parser


# What is asked


def _turns(ops: OpsClient, asked: argparse.Namespace) -> dict[str, Any]:
    return ops.get("/turns", limit=asked.limit)


def _operations(ops: OpsClient, asked: argparse.Namespace) -> dict[str, Any]:
    return ops.get("/operations", limit=asked.limit)


def _load(ops: OpsClient, asked: argparse.Namespace) -> dict[str, Any]:
    return ops.get("/load", minutes=asked.minutes)


def _top(ops: OpsClient, asked: argparse.Namespace) -> dict[str, Any]:
    return ops.get("/top", minutes=asked.minutes)


def _explain(ops: OpsClient, asked: argparse.Namespace) -> dict[str, Any]:
    return ops.get(f"/turns/{asked.task_id}/explanation")


def _cancel(ops: OpsClient, asked: argparse.Namespace) -> dict[str, Any]:
    return ops.post(f"/turns/{asked.task_id}/cancel")


def _requeue(ops: OpsClient, asked: argparse.Namespace) -> dict[str, Any]:
    return ops.post(f"/turns/{asked.task_id}/requeue")


def _letters(ops: OpsClient, asked: argparse.Namespace) -> dict[str, Any]:
    return ops.get("/dead-letters", queue=asked.queue, limit=asked.limit)


def _letter(ops: OpsClient, asked: argparse.Namespace) -> dict[str, Any]:
    return ops.get(f"/dead-letters/{asked.number}")


def _edit(ops: OpsClient, asked: argparse.Namespace) -> dict[str, Any]:
    try:
        body = json.load(asked.file)
    except ValueError as error:
        raise Refused(f"this is no JSON: {error}") from None
    answer = ops.put(f"/dead-letters/{asked.number}", {"body": body})
    return _replay(ops, asked) if asked.replay else answer


def _doctor(ops: OpsClient, _: argparse.Namespace) -> dict[str, Any]:
    """With what the gateway's own probe finds: whether writes are taken, and which lock holds them up. That one needs
    neither a key nor Postgres."""
    checks = ops.readiness().get("checks", {})
    tried = [{"name": f"probe: {name}", "ok": one["ok"], "detail": one["detail"]} for name, one in checks.items()]
    try:
        findings = ops.get("/doctor")["findings"]
    except Refused as error:
        findings = [{"name": "doctor", "ok": False, "detail": str(error)}]
    all_of_them = [*findings, *tried]
    return {"ok": all(one["ok"] for one in all_of_them), "findings": all_of_them}


def _replay(ops: OpsClient, asked: argparse.Namespace) -> dict[str, Any]:
    return ops.post(f"/dead-letters/{asked.number}/replay")


def _remove(ops: OpsClient, asked: argparse.Namespace) -> dict[str, Any]:
    return ops.delete(f"/dead-letters/{asked.number}")


def _purge(ops: OpsClient, asked: argparse.Namespace) -> dict[str, Any]:
    return ops.delete("/dead-letters", queue=asked.queue, older_than_hours=asked.older_than_hours)


# How it is shown


def _show_queues(answer: Mapping[str, Any]) -> None:
    _table(
        ("QUEUE", "WAITING", "OLDEST", "IN FLIGHT", "OLDEST", "DEAD", "WORKERS"),
        [
            (
                one["kind"],
                one["waiting"],
                _seconds(one["waiting_seconds"]),
                one["in_flight"],
                _seconds(one["in_flight_seconds"]),
                one["dead_letters"],
                ", ".join(
                    f"{who['name']} ({who['in_flight']}, {_seconds(who['idle_seconds'])})" for who in one["consumers"]
                )
                or "none",
            )
            for one in answer["queues"]
        ],
    )
    print(f"{answer['chat_workers_ready']} chat workers are ready.")


def _show_processes(answer: Mapping[str, Any]) -> None:
    rows = [(one["component"], one["name"], one["version"], one["lacks"] or "ready") for one in answer["processes"]]
    rows += [
        ("?", name, "?", f"silent for {_seconds(told)}: frozen or dead") for name, told in answer["silent"].items()
    ]
    _table(("SERVICE", "NAME", "VERSION", "STATE"), rows)


def _show_turns(answer: Mapping[str, Any]) -> None:
    rows = [
        (
            one["task_id"],
            one["status"],
            _seconds(one["age_seconds"]),
            one["attempt"],
            _holder(one["holder"], one["holder_idle_seconds"]),
            one["user_id"] or "-",
            one["phase"],
        )
        for one in answer["turns"]
    ]
    _table(("TURN", "STATUS", "AGE", "ATTEMPT", "HOLDER (SILENT)", "USER", "PHASE"), rows)


def _show_operations(answer: Mapping[str, Any]) -> None:
    rows = [
        (
            one["operation_id"],
            one["tool_name"],
            one["status"],
            one["waits_for"],
            _seconds(one["age_seconds"]),
            _seconds(one["deadline_seconds"]),
            _holder(one["runner"], one.get("runner_idle_seconds")),
            one["task_id"],
        )
        for one in answer["operations"]
    ]
    _table(("OPERATION", "TOOL", "STATUS", "WAITS FOR", "AGE", "FAILS IN", "RUNNER (SILENT)", "TURN"), rows)


def _holder(name: str | None, idle_seconds: float | None) -> str:
    if not name:
        return "-"
    return name if idle_seconds is None else f"{name} ({_seconds(idle_seconds)})"


def _show_explanation(answer: Mapping[str, Any]) -> None:
    print(answer["sentence"])
    for line in answer["evidence"]:
        print(f"  {line}")


def _show_load(answer: Mapping[str, Any]) -> None:
    print(answer["sentence"])
    ended = ", ".join(f"{number} {status}" for status, number in answer["ended"].items()) or "none"
    print(f"  {answer['accepted']} turns in {answer['minutes']} min; ended: {ended}; {answer['tokens']} tokens")
    for name, told in (("queued_seconds", "waited for a worker"), ("turn_seconds", "took in all")):
        if answer[name] is not None:
            print(f"  {told}: median {answer[name][0]:.2f} s, one in twenty more than {answer[name][1]:.2f} s")
    for code, number in answer["errors"].items():
        print(f"  {number} failed with {code}")


def _show_top(answer: Mapping[str, Any]) -> None:
    for name in ("users", "sessions"):
        rows = [
            (one["name"] or "(nobody)", one["turns"], one["live"], one["tokens"], _cost(one)) for one in answer[name]
        ]
        _table((name.upper(), "TURNS", "LIVE", "TOKENS", "COST"), rows)


def _cost(one: Mapping[str, Any]) -> str:
    """What is unknown is no zero."""
    unpriced = one["unpriced"]
    if not one["cost"] and unpriced:
        return "no price is known"
    return f"${one['cost']:.4f}" + (f", without {unpriced} calls" if unpriced else "")


def _show_letters(answer: Mapping[str, Any]) -> None:
    rows = [
        (one["id"], one["queue"], one["created_at"][:19], one["deliveries"], one["task_id"] or "-", one["reason"][:100])
        for one in answer["dead_letters"]
    ]
    _table(("NUMBER", "QUEUE", "SINCE", "DELIVERIES", "TURN", "REASON"), rows)


def _show_letter(answer: Mapping[str, Any]) -> None:
    for name in ("id", "queue", "task_id", "created_at", "deliveries", "reason", "entry_id", "body"):
        print(f"{name}: {answer[name]}")


def _show_findings(answer: Mapping[str, Any]) -> None:
    _table(
        ("", "WHAT", "FOUND"), [("ok" if one["ok"] else "NO", one["name"], one["detail"]) for one in answer["findings"]]
    )


def _show_status(answer: Mapping[str, Any]) -> None:
    print(f"{answer['task_id']}: {answer['status']}")


def _show_detail(answer: Mapping[str, Any]) -> None:
    print(answer["detail"])


def _show_removed(answer: Mapping[str, Any]) -> None:
    print(f"{answer['removed']} removed")


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    texts = [head, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[place]) for row in texts) for place in range(len(head))]
    for row in texts:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if not rows:
        print("(none)")


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.1f}s" if abs(seconds) < 120 else f"{seconds / 60:.0f}min"
