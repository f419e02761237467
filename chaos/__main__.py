"""`python -m chaos`: run scenarios, print a table, and say with the exit code whether anything was lost."""

import argparse
import asyncio
import dataclasses
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from chaos.forms import LONG, SHORT, SHORT_OVERRIDES
from chaos.report import account, notes, table, write_json
from chaos.running import Form, Outcome, run
from chaos.scenarios import SCENARIOS, Scenario
from chaos.stack import Stack
from harness.databases.postgres import Postgres


def main() -> int:
    arguments = _arguments()
    seed = random.randrange(10**6) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    form = SHORT if arguments.short else LONG
    if arguments.turns is not None:
        form = dataclasses.replace(form, turns=arguments.turns)
    directory = Path(tempfile.mkdtemp(prefix="sluiceway-chaos-"))
    directory.chmod(0o755)  # as root, Postgres runs as nobody
    names = arguments.scenario or list(SCENARIOS)
    outcomes, complaints = asyncio.run(_run_all(directory, names, seed, form, arguments.short))
    print(table(outcomes), *notes(outcomes), sep="\n")
    if arguments.json is not None:
        write_json(arguments.json, seed, outcomes)
    accounts = [text for outcome in outcomes if (text := account(outcome))] + complaints
    if not accounts and all(outcome.clean for outcome in outcomes):
        shutil.rmtree(directory, ignore_errors=True)
        return 0
    print("\n".join(accounts), f"seed {seed}; the logs are in {directory}", sep="\n", file=sys.stderr)
    return 1


async def _run_all(
    directory: Path, names: Sequence[str], seed: int, form: Form, short: bool
) -> tuple[list[Outcome], list[str]]:
    outcomes: list[Outcome] = []
    complaints: list[str] = []
    postgres = Postgres(directory)
    postgres.start()
    url = postgres.url(postgres.create_database(migrated=True))
    overrides = SHORT_OVERRIDES if short else {}
    try:
        for topology in dict.fromkeys(SCENARIOS[name].topology for name in names):
            place = directory / topology
            place.mkdir(mode=0o755)
            stack = Stack(place, postgres, url, overrides, random.Random(seed), topology)
            scenarios = [SCENARIOS[name] for name in names if SCENARIOS[name].topology == topology]
            postgres.start()
            complaints += await _run_on(stack, scenarios, seed, form, outcomes)
    finally:
        postgres.stop()
    return outcomes, complaints


async def _run_on(
    stack: Stack, scenarios: Sequence[Scenario], seed: int, form: Form, outcomes: list[Outcome]
) -> list[str]:
    """The scenarios of one topology, on one stack; what was wrong with its processes."""
    complaints: list[str] = []
    try:
        await stack.start()
        for scenario in scenarios:
            print(f"{scenario.name}: {scenario.about} …", file=sys.stderr, flush=True)
            outcomes.append(await run(stack, scenario, seed, form))
            print(table(outcomes).splitlines()[-1], file=sys.stderr, flush=True)
    except Exception as error:  # noqa: BLE001 - what was found so far is still worth a table
        complaints.append(f"the run broke off: {error!r}")
    finally:
        complaints += stack.stop()
        stack.postgres.stop()  # it may have been started by the stack's thread, and would end with it
        stack.process_thread.let_go()
    return complaints


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description="Break the system under load.")
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), help="may be repeated; default: all")
    parser.add_argument("--seed", type=int, help="default: a random one, which is printed")
    parser.add_argument("--turns", type=int, help="at least so many a scenario")
    parser.add_argument("--short", action="store_true", help="few turns and short leases, as in the tests")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the table as JSON, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
