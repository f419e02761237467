"""The completion consumer: results → Postgres → stream → next step; and the reconciler, which keeps all moving."""
