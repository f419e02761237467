"""What keeps the stack from running, as a sentence for the person at the terminal."""


class CannotRun(Exception):
    """Printed as it is, without a traceback; the process ends with exit code 1."""
