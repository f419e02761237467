"""Real Valkey and Postgres servers, each of its own."""
