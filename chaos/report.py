"""What came of a run: a table with a row a scenario, the same as JSON, and an account of everything that went wrong."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chaos.running import Outcome
from chaos.verdict import COLUMNS, Judgement

_HEAD = (
    "scenario",
    "accepted",
    "answered",
    "lost",
    "doubled",
    "gaps",
    "repeats",
    "false finishes",
    "worst s",
    "median s",
    "wall s",
    "gateway MB",
    "runner MB",
    "others ms",
)
_MOST_TURNS = 5
_MOST_FINDINGS = 4
_MOST_CHARS = 600


def table(outcomes: Sequence[Outcome]) -> str:
    rows = [_HEAD, *(_row(outcome) for outcome in outcomes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [
        "  ".join(_aligned(cell, width, n) for n, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def notes(outcomes: Sequence[Outcome]) -> list[str]:
    """What is no fault, and should be known."""
    found = ((outcome.name, outcome.without_tools) for outcome in outcomes)
    return [
        f"{name}: {turns} turns were answered while the model was offered no tools" for name, turns in found if turns
    ]


def account(outcome: Outcome) -> str:
    """What went wrong in a scenario; empty: nothing."""
    lines = [f"{outcome.name}: {complaint[:_MOST_CHARS]}" for complaint in outcome.complaints]
    for judgement in outcome.failures[:_MOST_TURNS]:
        lines += _of_turn(outcome.name, judgement)
    if len(outcome.failures) > _MOST_TURNS:
        lines.append(f"{outcome.name}: and {len(outcome.failures) - _MOST_TURNS} more turns")
    return "\n".join(lines)


def write_json(path: Path, seed: int, outcomes: Sequence[Outcome]) -> None:
    path.write_text(
        json.dumps({"seed": seed, "scenarios": [as_json(outcome) for outcome in outcomes]}, indent=2) + "\n"
    )


def _row(outcome: Outcome) -> tuple[str, ...]:
    counts = [str(outcome.columns[column]) for column in COLUMNS]
    times = [_seconds(outcome.worst), _seconds(outcome.median), f"{outcome.wall_seconds:.0f}"]
    return (outcome.name, str(outcome.accepted), str(outcome.answered), *counts, *times, *_burden(outcome))


def _burden(outcome: Outcome) -> tuple[str, str, str]:
    burden = outcome.burden
    if burden is None:
        return ("-", "-", "-")
    gateway, runner = (f"{burden.megabytes.get(kind, 0.0):+.0f}" for kind in ("gateway", "tool-runner"))
    return gateway, runner, f"{burden.waiting_ms:.0f}"


def as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "name": outcome.name,
        "accepted": outcome.accepted,
        "answered": outcome.answered,
        "answered_without_tools": outcome.without_tools,
        **{column.replace(" ", "_"): outcome.columns[column] for column in COLUMNS},
        "recoveries": len(outcome.recoveries),
        "worst_recovery_seconds": outcome.worst,
        "median_recovery_seconds": outcome.median,
        "wall_seconds": outcome.wall_seconds,
        "added_megabytes": dict(outcome.burden.megabytes) if outcome.burden else None,
        "others_waited_ms": outcome.burden.waiting_ms if outcome.burden else None,
        "faults": dict(outcome.faults),
        "complaints": outcome.complaints,
        "failed_turns": [_of_turn(outcome.name, judgement) for judgement in outcome.failures],
    }


def _of_turn(scenario: str, judgement: Judgement) -> list[str]:
    turn = judgement.turn
    where = f"question {turn.question.key}, session {turn.session_id}"
    head = f"{scenario}: {turn.task_id or 'no task'} ({turn.client}, {where})"
    return [head, *(f"    {column}: {why[:_MOST_CHARS]}" for column, why in judgement.findings[:_MOST_FINDINGS])]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _aligned(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column == 0 else cell.rjust(width)
