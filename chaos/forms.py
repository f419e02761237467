"""How long a run is: the long form of `make chaos`, with the services' own settings, and the tests' short form."""

from chaos.faults import Pace
from chaos.running import Form

LONG = Form(
    turns=100,
    at_once=20,
    pace=Pace(rounds=3, pause=(1, 4), away=30, replaced=9, slack_seconds=2, crowd=200, stay_seconds=6),
)
SHORT = Form(
    turns=10,
    at_once=10,
    pace=Pace(rounds=1, pause=(0, 1), away=2, replaced=1, slack_seconds=8, crowd=40, stay_seconds=3),
    limit_seconds=60,
)
SHORT_OVERRIDES = {"LEASE_SECONDS": "2", "DRAIN_SECONDS": "2", "RECONCILE_SECONDS": "0.5", "SETTLE_AFTER_SECONDS": "1"}
