"""What a program that reads a stranger's bytes gives away before it reads the first one: memory and time beyond a
limit, files, the network. What goes wrong after that ends this process, and nothing else.

For programs that `confined.run` starts. It imports nothing of ours: they have no packages but what they are told.
"""

import ctypes
import resource
import sys

MEMORY_BYTES = 512 * 1024 * 1024
CPU_SECONDS = 8
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG, _SIGKILL, _PR_SET_NO_NEW_PRIVS = 1, 9, 38


def give_up_everything() -> None:
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
