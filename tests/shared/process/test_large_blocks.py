"""What a process had large blocks for is not kept when it is done."""

import subprocess
import sys

import pytest

_MIB = 1024 * 1024
_PROGRAM = """
import psutil
from sluiceway.process.large_blocks import give_back_large_blocks
give_back_large_blocks()
rss = psutil.Process().memory_info
bytearray(14 << 20)  # from its end on malloc takes such blocks from its heap
before = rss().rss
large, small = [], []
for _ in range(6):
    large.append(bytearray(14 << 20))
    small.append(bytearray(200_000))
full = rss().rss
del large
print(full - before, rss().rss - before)
"""


@pytest.mark.requirement("SE-3")
def test_large_blocks_between_small_ones_are_given_back() -> None:
    said = subprocess.run([sys.executable, "-c", _PROGRAM], check=True, capture_output=True, text=True, timeout=60)
    full, kept = map(int, said.stdout.split())
    assert full > 80 * _MIB
    assert kept < 10 * _MIB
