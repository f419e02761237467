"""The reconciler: makes true that everything in Redis can be rebuilt from Postgres."""
