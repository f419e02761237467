"""Runs in a child before its program does: ties it to the supervisor's life, and gives up root where asked.

A script, run by path with `python -I -S` so that it costs milliseconds:
launcher.py SIGNAL PARENT USER PROGRAM ARGUMENT…

Guarantees on Linux: when the supervisor is gone, by whatever death, the kernel sends SIGNAL to the program. Elsewhere
the next `make run` ends what was left behind.

USER (or "-") is for Postgres, which refuses to run as root. The program keeps one power of root, to pass through
folders that only root may enter: a clone below /root stays as closed as it was.
"""

import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 8, 47, 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522


def main() -> None:
    death_signal, parent, user, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
    libc = ctypes.CDLL(None, use_errno=True)
    linux = sys.platform == "linux"
    if user != "-":
        become(user, libc if linux else None)
    if linux:  # after the change of user, which would clear it
        require(libc.prctl(PR_SET_PDEATHSIG, death_signal))
    if os.getppid() != parent:  # it died before the kernel knew of us
        sys.exit(1)
    os.execv(program[0], program)  # noqa: S606 - the supervisor names the program


def become(user: str, libc: ctypes.CDLL | None) -> None:
    entry = pwd.getpwnam(user)
    if libc is not None:
        require(libc.prctl(PR_SET_KEEPCAPS, 1))
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    if libc is not None:
        keep_passing_through_folders(libc)


def keep_passing_through_folders(libc: ctypes.CDLL) -> None:
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    wanted = 1 << CAP_DAC_OVERRIDE
    effective_permitted_inheritable = (ctypes.c_uint32 * 6)(wanted, wanted, wanted, 0, 0, 0)
    require(libc.capset(header, effective_permitted_inheritable))
    require(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0))


def require(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main()
