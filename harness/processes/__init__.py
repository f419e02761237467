"""Our services, and other programs, as real processes."""
