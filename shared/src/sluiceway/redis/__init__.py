"""The way to Redis: one server, one that Sentinels know, or a cluster."""
