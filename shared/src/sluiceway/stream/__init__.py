"""Task streams in Redis: the registry of tasks, and the one event stream that each has."""
