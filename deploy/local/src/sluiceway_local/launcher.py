"""Runs in a child before its program does: ties it to the supervisor's life, and gives up root where asked.

A script, run by path with `python -I -S` so that it costs milliseconds; `command` is how to call it:
launcher.py SIGNAL PARENT USER PROGRAM ARGUMENT…

Guarantees on Linux: when the supervisor is gone, by whatever death, the kernel sends SIGNAL to the program. Elsewhere
the next `make run` ends what was left behind.

USER (or "-") is for Postgres, which refuses to run as root. The program keeps one capability of root, to pass through
folders that only root may enter: a clone below /root stays as closed as it was. Where the system does not allow that
(a container without capabilities) and such a folder is in the way, the program is not started; a sentence says why.
"""

import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_GET_SECUREBITS, PR_SET_SECUREBITS = 1, 8, 27, 28
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522


def command(death_signal: int, user: str | None) -> tuple[str, ...]:
    """The words that go before a program to have this process start it so. None: as the present user."""
    return (sys.executable, "-I", "-S", __file__, str(int(death_signal)), str(os.getpid()), user or "-")


def main() -> None:
    death_signal, parent, user, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
    libc = ctypes.CDLL(None, use_errno=True)
    linux = sys.platform == "linux"
    if user != "-":
        become(user, libc if linux else None)
        require_reachable(program, user)
    if linux:  # after the change of user, which would clear it
        require(libc.prctl(PR_SET_PDEATHSIG, death_signal))
    if os.getppid() != parent:  # it died before the kernel knew of us
        sys.exit(1)
    os.execv(program[0], program)  # noqa: S606 - the supervisor names the program


def become(user: str, libc: ctypes.CDLL | None) -> None:
    """Exits with a sentence where root is not allowed to become another user."""
    entry = pwd.getpwnam(user)
    try:
        if libc is not None:
            keep_capabilities(libc)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except OSError as error:
        sys.exit(f"It may not run as root, and root may not become {user} here ({error.strerror}): {WAY_OUT}")
    if libc is not None:
        keep_passing_through_folders(libc)


def keep_capabilities(libc: ctypes.CDLL) -> None:
    """Through the change of user.

    The security bit is needed for access(2), by which Postgres looks for its own programs: without it the kernel
    answers that call as if a user other than root had no capabilities. A container may forbid the bit; programs that
    everybody may reach start all the same.
    """
    bits = libc.prctl(PR_GET_SECUREBITS)
    if bits < 0 or libc.prctl(PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP) != 0:
        require(libc.prctl(PR_SET_KEEPCAPS, 1))


def keep_passing_through_folders(libc: ctypes.CDLL) -> None:
    """All other capabilities end here. So does this one where root did not have it; `require_reachable` then tells."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    wanted = 1 << CAP_DAC_OVERRIDE
    for kept in (wanted, 0):
        effective_permitted_inheritable = (ctypes.c_uint32 * 6)(kept, kept, kept, 0, 0, 0)
        if libc.capset(header, effective_permitted_inheritable) == 0:
            libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)
            return
    require(-1)


WAY_OUT = (
    "run `make` as an ordinary user, or, where this is root of a container, allow it SETUID, SETGID, CHOWN, SETPCAP "
    "and DAC_OVERRIDE, which are among Docker's defaults."
)


def require_reachable(program: list[str], user: str) -> None:
    """What the command names by its whole path, the program by access(2). Exits with a sentence."""
    for path in program:
        if path.startswith("/") and not (os.access(path, os.X_OK) if path == program[0] else passes(path)):
            sys.exit(f"{user} may not enter the folder of {path}, and Postgres does not run as root: {WAY_OUT}")


def passes(path: str) -> bool:
    try:
        os.stat(path)
    except PermissionError:
        return False
    except OSError:
        return True  # what is wrong is for the program to say
    return True


def require(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main()
