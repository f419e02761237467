"""Large blocks of memory are given back as soon as nobody needs them.

After the first large block that is freed, glibc's malloc takes those that follow from its heap, and of a heap only the
end is given back: of a few answers of 14 MB a process would keep most for good.
"""

import contextlib
import ctypes

_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 1024 * 1024


def give_back_large_blocks() -> None:
    """Once, when a process starts. Where the C library is another one it knows nothing of this."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
