"""What a process has of the machine, as the kernel counts it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Footprint:
    """`bytes`: of its memory, what is its own and no file's; pages of programs change hands with every process that
    starts or ends. `files`: open descriptors, connections among them."""

    bytes: int
    files: int


def footprint(pid: int) -> Footprint:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))
    return Footprint(1024 * kilobytes, sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()))
