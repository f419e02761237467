"""The life of a turn, across Postgres and Redis. README.md has its states, transitions and repairs, and the glossary.

    intake.py     gateway: accept a turn, take a person's answer, cancel, delete and claim a session
    lookup.py     gateway: find a turn for its follower
    dispatch.py   gateway, reconciler: queue a turn for a chat worker
    resume.py     completion consumer: queue the next step of a turn whose operations have ended
    pause.py      chat worker: let a turn wait for its operations
    ending.py     all: end a turn, and finalize one that has ended
    catch_up.py   reconciler: what Redis knows of a turn, and Postgres forgot
    erasing.py    gateway, reconciler: erase from Redis what was deleted
    rebuild.py    write the whole stream of a turn again, from what Postgres has
    shown.py      what a stream and Postgres together show of a turn's message

Order of effects: Postgres first, always. What Redis misses of it (a crash in between, Redis away) is done again by
whoever finds it: `publish` and `finalize` are idempotent, and the reconciler calls them for what is left.
"""
