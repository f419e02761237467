"""Work queues in Redis: entries, leases, and the loop that handles them."""
