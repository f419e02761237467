"""Event streams beside the turns': of jobs and of agents. Whoever publishes needs this room alone."""
