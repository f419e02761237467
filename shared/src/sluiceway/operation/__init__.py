"""Tool calls on their way: what tools there are, who is to run one, how one ended."""
