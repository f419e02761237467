"""`make run`: the whole system on this machine, without containers."""
