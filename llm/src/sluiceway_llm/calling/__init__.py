"""One call of a model: the server, the line before it, retries, and breakers."""
