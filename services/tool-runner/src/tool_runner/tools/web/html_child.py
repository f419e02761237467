"""The program that reads a stranger's HTML: a body on stdin, {"title", "text"} as JSON on stdout.

    python -I -S html_child.py SLUICEWAY OWN PACKAGES CHARSET URL MAX_CHARS

Before the first byte is read it has given away all that it does not need: see sluiceway/process/confined_child.py.
"""

import importlib
import json
import sys


def main() -> None:
    *packages, charset, url, max_chars = sys.argv[1:]
    sys.path[:0] = packages
    confined_child = importlib.import_module("sluiceway.process.confined_child")
    html_text = importlib.import_module("tool_runner.tools.web.html_text")
    html_text.warm_up()
    "".encode(charset)  # what decodes is loaded while files can be opened
    confined_child.give_up_everything()
    html = sys.stdin.buffer.read().decode(charset, errors="replace")
    title, text = html_text.read_html(html, url, int(max_chars))
    sys.stdout.write(json.dumps({"title": title, "text": text}))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
