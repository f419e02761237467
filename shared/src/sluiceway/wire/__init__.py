"""One definition for everything on the wire and in the store: events, messages, jobs, ids. It imports nothing above."""
