"""Webhooks of outside services: signature, rate, body."""
