"""Running a turn: `runner.py` is its boundary, `attempts.py` one attempt at it, `opening.py` how that takes the stream
over, `steps.py` which step comes next, `requests.py` what its model is sent.
"""
