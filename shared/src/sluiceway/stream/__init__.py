"""Task streams in Redis: the registry of tasks, and the one event stream that each has.

    registry.py           the tasks that Redis knows: metadata, the active one of a session, cancel flags, queue entries
    writer.py             an attempt's writes to its stream, each fenced: begin, append, retract, wait, close
    reader.py             a whole stream, its last id, and the replication id of the server
    operation_output.py   what operations add to the stream of a task that waits for them
    operation_entries.py  where the queue entries of a task's operations are

Guarantees
- Entries are ordered and never trimmed while the stream lives; ids are ATTEMPT-SEQUENCE, so ids grow over attempts.
- Appends are fenced: after `begin(attempt)` no earlier attempt adds one more entry.
- A task ends once: `close` is a compare-and-set, and writes the terminal entry in the same script.
- Every key has a TTL; the holder's heartbeat renews it, and the reconciler where nobody holds the task.
- Nothing is written behind a gap. A server that took over may lack the last writes of the one before it: the next
  write is answered "lost" then, and the stream is begun again under a greater attempt, so that no id stands for two
  entries.
Not guaranteed: that Redis remembers. A lost task reads as None here; Postgres has the truth.
"""
