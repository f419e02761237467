"""Real parts for tests, chaos and bench: servers, service processes, a model server with faults, verifying clients."""
