"""Breaks the real system under load and says what that cost: `python -m chaos`, or `make chaos`.

It starts everything as processes in a temporary directory, runs scenarios of faults while verifying clients ask
questions whose every character is known beforehand, and ends with a table: what was accepted, answered, lost, doubled,
left out, repeated, and ended too early, how long clients waited after a fault, and what strangers cost. Anything but
zeros in the columns of losses is exit code 1, and so is a process that ended by itself, or not within its grace period,
or took more memory for strangers than it may.

    questions.py   what is asked, and what must be answered
    stack.py       the system; model.py, chaos_tools/: the model and the tools that it calls
    redis_path.py  the address of Redis, behind which things break; sentinel_path.py, cluster_path.py the other ways
    process_thread.py  starts and stops processes
    client.py      a client, clients.py its kinds; load.py keeps them busy
    faults.py      what is done to the system; scenarios.py in which order
    strangers.py   crowds that want harm, hostile_web.py pages that do; burden.py what they cost the others
    ledger.py      what clients saw; stored.py what Postgres has; verdict.py whether that is right; recovery.py how fast
    running.py     one scenario from beginning to end, forms.py how long; report.py the table
"""
