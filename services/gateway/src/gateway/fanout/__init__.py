"""One reader of Redis for all the browsers of a process: the hub, its wire, its subscribers."""
