"""The life of a turn, across Postgres and Redis. README.md tells it whole."""
