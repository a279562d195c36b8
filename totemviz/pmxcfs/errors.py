"""The errno values that pmxcfs hands out, as Linux numbers them.

The standard library's ``errno`` follows the machine it runs on; a simulated node is always a Linux machine.
"""

from __future__ import annotations

from enum import IntEnum


class Errno(IntEnum):
    """Linux error numbers; results of file operations carry them negated."""

    EPERM = 1
    ENOENT = 2
    EIO = 5
    ENOMEM = 12
    EACCES = 13
    EBUSY = 16
    EEXIST = 17
    ENOTDIR = 20
    EINVAL = 22
    EFBIG = 27
    ENOSYS = 38
    ENOTEMPTY = 39
    ECHRNG = 44
    ECONNABORTED = 103
    ENOTCONN = 107
    ETIMEDOUT = 110


_REASONS = {
    Errno.EPERM: "Operation not permitted",
    Errno.ENOENT: "No such file or directory",
    Errno.EIO: "Input/output error",
    Errno.ENOMEM: "Cannot allocate memory",
    Errno.EACCES: "Permission denied",
    Errno.EBUSY: "Device or resource busy",
    Errno.EEXIST: "File exists",
    Errno.ENOTDIR: "Not a directory",
    Errno.EINVAL: "Invalid argument",
    Errno.EFBIG: "File too large",
    Errno.ENOSYS: "Function not implemented",
    Errno.ENOTEMPTY: "Directory not empty",
    Errno.ECHRNG: "Channel number out of range",
    Errno.ECONNABORTED: "Software caused connection abort",
    Errno.ENOTCONN: "Transport endpoint is not connected",
    Errno.ETIMEDOUT: "Connection timed out",
}


def reason(result: int) -> str:
    """A negative errno in glibc's words, as programs on a node put it into their messages."""
    return _REASONS[Errno(-result)]
