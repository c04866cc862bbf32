# SPDX-License-Identifier: Apache-2.0
"""`python -m countermark.cli.offline …`: the countermark command in a process without sockets.

The demo verifies like this, so that nobody has to believe that verification asks no server. On
Linux the kernel refuses every new socket (a seccomp filter, for the rest of the process's life);
everywhere Python refuses it too (an audit hook). Both are tried out before the command runs.
"""

import ctypes
import errno
import os
import socket
import struct
import sys
from typing import Final

_NO_NEW_PRIVS: Final = 38  # prctl's PR_SET_NO_NEW_PRIVS
_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2
_LOAD_WORD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000 | errno.EPERM
_OFFSET_NUMBER, _OFFSET_ARCH = 0, 4
_X32: Final = 0x40000000  # a second numbering of x86-64's system calls
# AUDIT_ARCH, then socket, socketpair and io_uring_setup (which can make sockets as well).
_SYSTEM_CALLS: Final = {
    "x86_64": (0xC000003E, (41, 53, 425)),
    "aarch64": (0xC00000B7, (198, 199, 425)),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def block_sockets() -> str:
    """Make new sockets impossible in this process; says what refuses them.

    Raises RuntimeError if one can still be opened.
    """
    guard = "the kernel" if _kernel_refuses() else "Python"
    sys.addaudithook(_refuse)
    try:
        socket.socket().close()
    except OSError:
        return guard
    raise RuntimeError("sockets could not be blocked")


def _refuse(event: str, _: object) -> None:
    if event in ("socket.__new__", "socket.connect", "socket.getaddrinfo"):
        raise PermissionError(errno.EPERM, "this process may not use the network")


def _kernel_refuses() -> bool:
    if sys.platform != "linux" or os.uname().machine not in _SYSTEM_CALLS:
        return False
    code = _filter(*_SYSTEM_CALLS[os.uname().machine])
    program = _Program(len(code) // 8, ctypes.cast(ctypes.c_char_p(code), ctypes.c_void_p))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)
    if prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    if prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(program), 0, 0):
        return False
    try:
        socket.socket().close()
    except PermissionError:
        return True
    return False


def _filter(architecture: int, refused: tuple[int, ...]) -> bytes:
    """A classic BPF program over `struct seccomp_data`."""
    steps = [
        (_LOAD_WORD, 0, 0, _OFFSET_ARCH),
        (_IF_EQUAL, 0, len(refused) + 3, architecture),
        (_LOAD_WORD, 0, 0, _OFFSET_NUMBER),
        (_IF_AT_LEAST, len(refused) + 1, 0, _X32),
    ]
    for place, number in enumerate(refused):
        steps.append((_IF_EQUAL, len(refused) - place, 0, number))
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def main() -> int:
    """Block sockets, then run the command line that follows."""
    block_sockets()
    from countermark.cli.entry import main as command

    return command()


if __name__ == "__main__":
    sys.exit(main())
