"""Conversations: sessions, their messages, titles and files, and what deleting one takes with it."""
