"""Event streams beside the turns': of jobs and of agents. A publisher needs this room alone."""
