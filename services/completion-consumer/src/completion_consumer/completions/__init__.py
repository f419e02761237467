"""Completions: from an entry of the queue to its effects."""
