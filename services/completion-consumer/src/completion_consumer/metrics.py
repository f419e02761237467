"""What the completion consumer counts; docs/metrics.md has the names."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# What the reconciler looks at. As the label `kind` of what failed and of what is left.
KINDS = (
    "lost_turns",
    "ends",
    "live_turns",
    "lanes",
    "next_steps",
    "deadlines",
    "approvals",
    "operations",
    "unclaimed",
    "polls",
    "webhooks",
    "parked",
    "agent_streams",
    "erasures",
    "retention",
    "files",
    "unattached_files",
    "stray_objects",
    "backlog",
)
# What it did.
REPAIRS = (
    "turn_finalized",
    "turn_released",
    "turn_requeued",
    "turn_continued",
    "turn_restored",
    "turn_waits",
    "turn_made_way",
    "background_told",
    "turn_cancelled",
    "turn_expired",
    "cancel_told",
    "operation_expired",
    "approval_expired",
    "operation_requeued",
    "operation_unclaimed",
    "webhook_resent",
    "parked_applied",
    "parked_given_up",
    "agent_stream_closed",
    "turn_erased",
    "file_removed",
    "file_dropped",
    "stray_object",
    "old_operations",
    "old_journal",
    "old_dead_letters",
    "old_superseded",
    "old_erasures",
    "old_sessions",
    "old_anonymous_sessions",
    "old_temporary_sessions",
    "store_went_back",
    "turn_lost",
    "turn_end_adopted",
    "turn_adopted",
    "turn_restarted",
    "operation_end_adopted",
)
OUTCOMES = ("applied", "repeat", "late", "unknown", "progress")
_ROUND_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)


class Metrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._leader = Gauge("sluiceway_reconciler_leader", "1 while this process leads, else 0", registry=registry)
        self.rounds = Counter(
            "sluiceway_reconciler_rounds",
            "Rounds of the reconciler, by how they ended",
            ["outcome"],
            registry=registry,
        )
        self.round_seconds = Histogram(
            "sluiceway_reconciler_round_seconds",
            "How long a round took",
            buckets=_ROUND_SECONDS,
            registry=registry,
        )
        self.repaired = Counter(
            "sluiceway_reconciler_repaired", "What the reconciler did again or ended", ["kind"], registry=registry
        )
        self.errors = Counter(
            "sluiceway_reconciler_errors", "Things that could not be repaired", ["kind"], registry=registry
        )
        self.backlog = Gauge(
            "sluiceway_reconciler_backlog", "What the last round left to the next", ["kind"], registry=registry
        )
        self.completions = Counter(
            "sluiceway_completions", "Completions and progress reports, by outcome", ["outcome"], registry=registry
        )
        self.dead_letters = Counter(
            "sluiceway_dead_letters", "Queue entries that were given up and kept", registry=registry
        )
        self._begin_at_zero()

    def watch(self, leads: Callable[[], bool]) -> None:
        """Ask this when the metrics are read."""
        self._leader.set_function(lambda: float(leads()))

    def _begin_at_zero(self) -> None:
        """A series that appears with its first event hides that event from `rate` and `increase`."""
        for outcome in ("complete", "incomplete"):
            self.rounds.labels(outcome)
        for kind in KINDS:
            self.errors.labels(kind)
        for repair in REPAIRS:
            self.repaired.labels(repair)
        for outcome in OUTCOMES:
            self.completions.labels(outcome)
