"""Running operations: taken, held, run, ended; and the tools on offer."""
