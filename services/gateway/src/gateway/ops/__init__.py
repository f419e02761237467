"""What an operator asks: queues, live turns, dead letters, and why a turn does not end."""
