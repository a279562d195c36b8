"""A look into a node's /etc/pve, as a shell on the node would give it."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterable

from totemviz.pmxcfs.machine import Pmxcfs

ROOT = "/etc/pve"


def show(pmxcfs: Pmxcfs, path: str) -> bytes:
    """The content of a file, or what ``ls -l`` prints of a folder or link. Raises FileNotFoundError."""
    inner = path.removeprefix(ROOT).strip("/")
    mode = pmxcfs.stat(inner).mode
    if stat.S_ISREG(mode):
        return pmxcfs.read(inner)
    names = pmxcfs.names(inner) if stat.S_ISDIR(mode) else [""]
    return "".join(_lines(pmxcfs, inner, names)).encode(errors="surrogateescape")


def _lines(pmxcfs: Pmxcfs, folder: str, names: Iterable[str]) -> Iterable[str]:
    for name in names:
        path = f"{folder}/{name}".strip("/")
        found = pmxcfs.stat(path)
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(found.mtime))
        target = pmxcfs.link(path)
        shown = (name or path) + (f" -> {target}" if target is not None else "")
        yield f"{stat.filemode(found.mode)} {found.links} root www-data {found.size:>8} {when} {shown}\n"
