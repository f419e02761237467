"""Turns, from their acceptance to their end, and their place in the conversation."""
