"""The gateway: HTTP and SSE between people, programs and outside services and everything behind it."""
