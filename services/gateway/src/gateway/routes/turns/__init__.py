"""Turns: accepted, followed, answered, cancelled."""
