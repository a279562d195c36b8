"""The guest list: which VM and container configurations exist, so that no VMID exists twice (sheet §2.6)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

_GUEST_PATH = re.compile(
    r"nodes/(?P<node>[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)/(?P<kind>qemu-server|openvz|lxc)/(?P<vmid>[1-9][0-9]*)\.conf"
)
_GUEST_FOLDER = re.compile(r"nodes/[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?/(?:qemu-server|openvz|lxc)")
_OPENVZ_SCRIPT = re.compile(r"(?:vps|[1-9][0-9]*)\.(?:mount|umount|start|stop|premount|postumount)")
_TYPE_OF_KIND = {"qemu-server": "qemu", "openvz": "openvz", "lxc": "lxc"}
_VMID_MAX = 2**32 - 1

FOLDER_OF_TYPE = {type_: folder for folder, type_ in _TYPE_OF_KIND.items()}
"""Where the configurations of each type of guest are, below a node's folder."""


class GuestPath(msgspec.Struct, frozen=True):
    """What the path of a guest configuration says: the VMID, its type (qemu, openvz, lxc) and the node's name."""

    vmid: int
    type: str
    node: str


class Guest(msgspec.Struct, frozen=True):
    """One guest: where its configuration is, and the counter value of its last registration."""

    type: str
    node: str
    version: int


class DuplicateVmidError(ValueError):
    """The guest list of a tree cannot be made: two configurations with one VMID, or a file in a folder's place.

    The text is pmxcfs' log line; ``more`` are further reasons of the same kind.
    """

    more: Sequence[DuplicateVmidError] = ()

    @property
    def texts(self) -> list[str]:
        """The log lines of all reasons."""
        return [str(error) for error in (self, *self.more)]


def is_openvz_script(name: str) -> bool:
    """Whether pmxcfs shows a file as executable: an action script of OpenVZ, by its name alone."""
    return _OPENVZ_SCRIPT.fullmatch(name) is not None


def parse_guest_path(path: str) -> GuestPath | None:
    """The guest whose configuration lives at ``path``, or None if it is another kind of file."""
    match = _GUEST_PATH.fullmatch(path)
    if match is None or int(match["vmid"]) > _VMID_MAX:
        return None
    return GuestPath(int(match["vmid"]), _TYPE_OF_KIND[match["kind"]], match["node"])


class GuestList:
    """The guests of the cluster by VMID. ``version`` counts every change, and is shown in ``.version``."""

    def __init__(self) -> None:
        self.guests: dict[int, Guest] = {}
        self.version = 0
        self._registrations = 0

    def exists_elsewhere(self, guest: GuestPath) -> bool:
        """Whether this VMID belongs to a guest of another type or on another node."""
        known = self.guests.get(guest.vmid)
        return known is not None and (known.type, known.node) != (guest.type, guest.node)

    def register(self, guest: GuestPath) -> None:
        """List a guest, or note that its configuration was written again."""
        self._registrations += 1
        self.guests[guest.vmid] = Guest(guest.type, guest.node, self._registrations)
        self.version += 1

    def drop(self, vmid: int) -> None:
        """Forget a guest whose configuration is gone; counted even if it was not listed."""
        self.guests.pop(vmid, None)
        self.version += 1

    def rebuild(self, paths: list[str]) -> None:
        """Start anew from the paths of all files (``memdb.c: memdb_recreate_vmlist``).

        Raises DuplicateVmidError, with the list complete all the same.
        """
        self.guests = {}
        self.version += 1
        duplicates = []
        for guest in filter(None, map(parse_guest_path, paths)):
            if guest.vmid in self.guests:
                duplicates.append(guest.vmid)
            else:
                self.register(guest)
        misplaced = [path for path in paths if _GUEST_FOLDER.fullmatch(path)]
        errors = [DuplicateVmidError(f"detected duplicate VMID {vmid}") for vmid in duplicates]
        errors += [DuplicateVmidError("vmlist_add_dir: assertion 'subdir->type == DT_DIR' failed") for _ in misplaced]
        if errors:
            errors[0].more = errors[1:]
            raise errors[0]
