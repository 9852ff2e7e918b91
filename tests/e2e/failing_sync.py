"""Lets the kernel answer one fsync or fdatasync of this process with a real EIO, and carry out all others.

A seccomp filter hands these two system calls to a second process, outside the filter, which says "do it" or "EIO". Nothing of Python or
SQLite is replaced. Linux only; needs no privilege.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import select
import socket
import stat
import struct
from collections.abc import Callable
from pathlib import Path

_CALLS = {"x86_64": (317, 74, 75), "aarch64": (277, 82, 83)}  # seccomp, fsync, fdatasync
_SET_NO_NEW_PRIVS = 38
_FILTER, _NEW_LISTENER, _CONTINUE = 1, 8, 1
_ASK, _ALLOW = 0x7FC00000, 0x7FFF0000
_RECEIVE, _ANSWER = 0xC0502100, 0xC0182101
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def fail_sync(number: int, told: Callable[[], None]) -> None:
    """Fail the *number*-th sync of a file from now on (1 is the next), or each one of a folder (0), in this thread and those it starts.

    *told* is called at that moment. OSError when the kernel does not offer this.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    seccomp, *syncs = _CALLS[platform.machine()]
    ours, theirs = socket.socketpair()
    if os.fork() == 0:  # not a thread: one that makes a sync may hold the interpreter's lock
        ours.close()
        _supervise(libc, theirs, number, told)
        os._exit(0)
    theirs.close()
    steps = [(_LOAD, 0, 0, 0), (_IF_EQUAL, 1, 0, syncs[0]), (_IF_EQUAL, 0, 1, syncs[1]), (_RETURN, 0, 0, _ASK), (_RETURN, 0, 0, _ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = _Program(len(steps), ctypes.cast(code, ctypes.c_void_p))
    _check(libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    listener = _check(libc.syscall(seccomp, _FILTER, _NEW_LISTENER, ctypes.byref(program)))
    socket.send_fds(ours, [b"x"], [listener])
    os.close(listener)  # the last one goes with the other process's
    ours.close()


def _supervise(libc: ctypes.CDLL, channel: socket.socket, number: int, told: Callable[[], None]) -> None:
    """Answer for as long as the filtered process lives."""
    _, handles, _, _ = socket.recv_fds(channel, 1, 1)
    if not handles:
        return
    left = number
    waiting = select.poll()
    waiting.register(handles[0], select.POLLIN)
    while True:
        ((_, event),) = waiting.poll()
        if not event & select.POLLIN:
            return
        asked = ctypes.create_string_buffer(80)
        if libc.ioctl(handles[0], ctypes.c_ulong(_RECEIVE), asked) != 0:
            continue
        id_, pid, handle = struct.unpack_from("=QI20xQ", asked)
        of_folder = stat.S_ISDIR(Path(f"/proc/{pid}/fd/{handle}").stat().st_mode)
        left -= not of_folder
        fails = of_folder if number == 0 else (left == 0 and not of_folder)
        if fails:
            told()
        answer = struct.pack("=QqiI", id_, 0, *((-errno.EIO, 0) if fails else (0, _CONTINUE)))
        libc.ioctl(handles[0], ctypes.c_ulong(_ANSWER), ctypes.create_string_buffer(answer, len(answer)))


def _check(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "the kernel refused a seccomp listener")
    return result
