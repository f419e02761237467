"""One step of a turn: one model call, streamed to the task's stream.

`step.py` runs it; `asking.py` is what it asks, `showing.py` what it shows, `ending.py` how it ends.
"""
