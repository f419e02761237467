"""Tool calls on their way: which tools there are, handing one to a runner, how one ended."""
