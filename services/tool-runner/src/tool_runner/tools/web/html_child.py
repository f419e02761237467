"""The program that reads a stranger's HTML: a body on stdin, {"title", "text"} as JSON on stdout.

    python -I -S html_child.py OWN PACKAGES CHARSET URL MAX_CHARS

Before the first byte is read it has given away all that it does not need: memory and time beyond a limit, files, the
network. What goes wrong after that ends this process, and nothing else.
"""

import ctypes
import importlib
import json
import resource
import sys

MEMORY_BYTES = 512 * 1024 * 1024
CPU_SECONDS = 8
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG, _SIGKILL, _PR_SET_NO_NEW_PRIVS = 1, 9, 38


def main() -> None:
    own, packages, charset, url, max_chars = sys.argv[1:]
    sys.path[:0] = [own, packages]
    html_text = importlib.import_module("tool_runner.tools.web.html_text")
    html_text.warm_up()
    "".encode(charset)  # what decodes is loaded while files can be opened
    _give_up_everything()
    html = sys.stdin.buffer.read().decode(charset, errors="replace")
    title, text = html_text.read_html(html, url, int(max_chars))
    sys.stdout.write(json.dumps({"title": title, "text": text}))
    sys.stdout.flush()


def _give_up_everything() -> None:
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 0),  # neither files nor sockets can be opened; the open ones are the pipes
    ):
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)  # where it is allowed


if __name__ == "__main__":
    main()
