"""The service itself: its page, its documentation, its health."""
