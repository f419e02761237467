"""What belongs to a person: signing in, what is known and used, what happens, export and erasure."""
