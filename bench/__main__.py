"""All the numbers that the project promises, as tables: `make bench`, or `make bench ARGS=--quick`.

Each part is a process of its own, so that none inherits the other's memory. Nothing else should run meanwhile.
"""

import subprocess
import sys

_PARTS = (
    "bench.fanout",
    "bench.readers",
    "bench.worker",
    "bench.completions",
    "bench.tools",
    "bench.fairness",
    "bench.page",
    "bench.topology",
)


def main() -> None:
    for part in _PARTS:
        print(f"== {part}", flush=True)
        subprocess.run([sys.executable, "-m", part, *sys.argv[1:]], check=True)


if __name__ == "__main__":
    main()
