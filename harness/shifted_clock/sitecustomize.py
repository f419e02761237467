"""Loaded by a Python process that has this directory in PYTHONPATH: its wall clock is wrong by CLOCK_SHIFT_SECONDS.

Only what tells the time of day is shifted, as on a machine whose clock was never set; monotonic clocks go on as they
are. `isinstance` and annotations still mean the real class.
"""

import datetime
import os
import time

_SECONDS = float(os.environ.get("CLOCK_SHIFT_SECONDS", "0"))
_Real = datetime.datetime
_real_time, _real_time_ns = time.time, time.time_ns


class _AsReal(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _Real)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _Real)


class _Shifted(_Real, metaclass=_AsReal):
    __slots__ = ()

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> _Real:  # type: ignore[override]
        return _Real.now(tz) + datetime.timedelta(seconds=_SECONDS)


time.time = lambda: _real_time() + _SECONDS
time.time_ns = lambda: _real_time_ns() + int(_SECONDS * 1_000_000_000)
datetime.datetime = _Shifted  # type: ignore[misc]
