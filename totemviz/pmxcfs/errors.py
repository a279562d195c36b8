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
