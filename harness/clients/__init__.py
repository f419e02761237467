"""Clients of a gateway, and what they make of its streams."""
