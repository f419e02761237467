"""Exceptions as logs have them: where it was and what class it is of, without what it was about.

Guarantees: no values of variables, and no words but those of this project's own errors, of the operating system, and of
names that are missing. The words of others quote what they were given: a row, a text, a key, a URL with its password.
"""

import traceback

from sluiceway.errors import SluicewayError

# Their words say what was missing, and repeat no data.
_HARMLESS = (SluicewayError, AttributeError, NameError, ImportError)
_CAUSED = "\nThe above exception was the direct cause of the following exception:\n\n"
_MEANWHILE = "\nDuring handling of the above exception, another exception occurred:\n\n"
_MOST_IN_GROUP = 15
_DEEPEST = 20


def traceback_of(error: BaseException) -> str:
    """The traceback of an exception, after those of what led to it."""
    return "".join(_lines_of(error, set(), _DEEPEST)).rstrip("\n")


def words_of(error: BaseException) -> str:
    """Its class, and its words where they repeat no data."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: [Errno {error.errno}] {error.strerror}"
    return f"{name}: {error}" if isinstance(error, _HARMLESS) and str(error) else name


def _lines_of(error: BaseException, told: set[int], levels: int) -> list[str]:
    told.add(id(error))
    lines: list[str] = []
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in told and levels > 0:
        lines += [*_lines_of(before, told, levels - 1), _CAUSED if error.__cause__ is not None else _MEANWHILE]
    lines += ["Traceback (most recent call last):\n", *traceback.format_tb(error.__traceback__), words_of(error), "\n"]
    if isinstance(error, BaseExceptionGroup) and levels > 0:
        for number, inner in enumerate(error.exceptions[:_MOST_IN_GROUP], 1):
            text = "".join(_lines_of(inner, told, levels - 1))
            lines += [f"  ---------------- {number} ----------------\n"]
            lines += [f"  {line}\n" for line in text.splitlines()]
    return lines
