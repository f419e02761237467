"""What `run_agents` is made of."""
