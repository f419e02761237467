"""Titles of new conversations, made beside their first answer."""
