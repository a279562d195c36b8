"""What programs do below /etc/pve, as the system calls they make: the shell, and Proxmox' own tools.

A program is a generator: it yields a ``Call`` and goes on with its result, a ``Sleep``, or a line for the cluster log.
It returns its own result. What it looks at before (is there such a file, what is in it) it reads from its node's tree,
which never waits; the kernel does so too, and answers EEXIST or ENOENT without asking pmxcfs.

Sources, all of 2026: ``PVE/File.pm: file_set_contents`` (before 9.1 in ``PVE/Tools.pm``), ``PVE/Cluster.pm: $cfs_lock,
log_msg``, ``PVE/RESTEnvironment.pm: fork_worker``, and for guests ``qemu-server``'s ``PVE/API2/Qemu.pm``,
``PVE/QemuServer.pm``, ``PVE/QemuMigrate.pm`` with ``PVE/AbstractConfig.pm``. Containers are taken to do the same. Left
out: what never enters /etc/pve, like the lock of a configuration in /var/lock, and the list of tasks each node sends.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple, TypeAlias

from totemviz.pmxcfs.errors import Errno, reason
from totemviz.pmxcfs.guests import FOLDER_OF_TYPE

REQUEST_BYTES = 128 * 1024
"""FUSE splits a write into requests of at most this size; each is a message of its own."""

LOCK_FOLDER = "priv/lock"
LOCK_TIMEOUT_S = 10
_S = 10**9
_RETRIES_PER_S = 10
_OPEN_TRIES = 3
_PENDING = "\n[PENDING]\n"


class Call(NamedTuple):
    """A system call below /etc/pve; ``offset`` is in bytes, for mtime the time in seconds."""

    operation: str
    path: str
    to: str = ""
    data: bytes = b""
    offset: int = 0
    truncate: bool = False


class Sleep(NamedTuple):
    """Nothing happens for so long."""

    delay_ns: int


class Say(NamedTuple):
    """A line for the cluster log, over the IPC socket; nobody waits for it."""

    tag: str
    message: str


Program: TypeAlias = Generator[Call | Sleep | Say, int, int]
Look: TypeAlias = Callable[[str], bytes | None]
"""The content of a file in this node's tree, None if there is none; a folder has an empty one."""


class Guest(NamedTuple):
    """A guest as a tool on a node names it: ``kind`` is qemu, lxc or openvz."""

    vmid: int
    kind: str
    node_name: str

    @property
    def path(self) -> str:
        """Its configuration."""
        return f"nodes/{self.node_name}/{FOLDER_OF_TYPE[self.kind]}/{self.vmid}.conf"


class Process(NamedTuple):
    """The process that runs a tool: what it is called by in temporary names and task ids."""

    pid: int
    node_name: str
    start_s: int
    uptime_ns: int
    user: str = "root@pam"

    def upid(self, kind: str, vmid: int) -> str:
        """The unique id of a task (``PVE/Tools.pm: upid_encode``)."""
        jiffies = self.uptime_ns // 10_000_000
        return f"UPID:{self.node_name}:{self.pid:08X}:{jiffies:08X}:{self.start_s:08X}:{kind}:{vmid}:{self.user}:"


# ----------------------------------------------------------------------------------------------------------- the shell


def one_call(call: Call) -> Program:
    """mkdir, mv, rm, touch."""
    return (yield call)


def shell_write(look: Look, path: str, content: bytes) -> Program:
    """``echo … > path``: open with O_CREAT and O_TRUNC, then write."""
    exists = look(path) is not None
    result = yield Call("write", path, truncate=True) if exists else Call("create", path)
    if result >= 0:
        result = yield from _write(path, content, result)
    return result


def replace_file(look: Look, path: str, temporary: str, content: bytes) -> Program:
    """The same through a temporary file: readers never see half of it."""
    result = yield from shell_write(look, temporary, content)
    return result if result < 0 else (yield Call("rename", temporary, to=path))


def _write(path: str, content: bytes, result: int = 0) -> Program:
    for offset in range(0, len(content), REQUEST_BYTES):
        result = yield Call("write", path, data=content[offset : offset + REQUEST_BYTES], offset=offset)
        if result < 0:
            break
    return result


# --------------------------------------------------------------------------------------------------- Proxmox' own tools


def file_set_contents(process: Process, path: str, content: bytes) -> Program:
    """Write ``path.tmp.PID`` in one ``write(2)`` and rename it; what is left of a failure is removed again."""
    temporary = f"{path}.tmp.{process.pid}"
    for _ in range(_OPEN_TRIES):
        result = yield Call("create", temporary)
        if result != -Errno.EEXIST:
            break
        yield Call("delete", temporary)  # of a process of the same number that died over it
    if result < 0:
        return result
    result = yield from _write(temporary, content)
    if result >= 0:
        result = yield Call("rename", temporary, to=path)
    if result < 0:
        yield Call("delete", temporary)
    return result


def cfs_lock(look: Look, name: str, protected: Program, timeout_s: int = LOCK_TIMEOUT_S) -> Program:
    """Hold a cluster-wide lock while ``protected`` runs; ETIMEDOUT if others hold it for ``timeout_s``.

    The lock is a folder: who makes it has it. Who waits asks every second whether it has expired, by setting its time
    to 0, which is answered with EACCES.
    """
    path = f"{LOCK_FOLDER}/{name}"
    if look(LOCK_FOLDER) is None:
        yield Call("mkdir", LOCK_FOLDER)
    slept_ns = 0
    while True:
        result = -int(Errno.EEXIST)
        if look(path) is None:
            result = yield Call("mkdir", path)
        if result >= 0:
            break
        left_s = max(timeout_s - slept_ns // _S, 1)
        sleep_ns = min(left_s, _RETRIES_PER_S) * _S // _RETRIES_PER_S
        if (slept_ns + sleep_ns) // _S >= timeout_s:
            return -Errno.ETIMEDOUT if result == -Errno.EEXIST else result
        if look(path) is not None:
            yield Call("mtime", path, offset=0)
        yield Sleep(sleep_ns)
        slept_ns += sleep_ns
    result = yield from protected
    yield Call("delete", path)
    return result


def create_guest(look: Look, process: Process, guest: Guest, config: bytes, storage: str, takes_ns: int) -> Program:
    """``qm create``: claim the VMID with a locked configuration; as a task, make the disks, write the configuration.

    The disks take ``takes_ns``, under a cluster-wide lock if they are on a shared ``storage``. If they fail, the
    configuration goes again.
    """
    result = yield from file_set_contents(process, guest.path, b"lock: create\n")
    if result < 0:
        return result
    task = process.upid("qmcreate" if guest.kind == "qemu" else "vzcreate", guest.vmid)
    yield Say("pvedaemon", f"starting task {task}")
    disks, lock = _wait(takes_ns), f"storage-{storage}"
    result = yield from (cfs_lock(look, lock, disks) if storage else disks)
    why = _not_locked(lock, result)
    if result >= 0:
        result = yield from file_set_contents(process, guest.path, config)
        why = not_written(process.pid, guest.path, result)
    if result < 0:
        yield Call("delete", guest.path)
    what = "VM" if guest.kind == "qemu" else "CT"
    return (yield from _end_task(task, result, f"unable to create {what} {guest.vmid} - {why}"))


def set_guest(look: Look, process: Process, guest: Guest, option: str, value: str) -> Program:
    """``qm set VMID --option value`` of a guest that does not run: the configuration is written twice, as a whole.

    First the change stands in the section ``[PENDING]``, then it is applied (``API2/Qemu.pm: $updatefn``,
    ``QemuServer.pm: vmconfig_apply_pending``).
    """
    config = look(guest.path)
    if config is None:
        return -Errno.ENOENT
    yield Say("pvedaemon", f"update {'VM' if guest.kind == 'qemu' else 'CT'} {guest.vmid}: -{option} {value}")
    pending = with_pending(config, option, value)
    result = yield from file_set_contents(process, guest.path, pending)
    if result >= 0:
        result = yield from file_set_contents(process, guest.path, applied(pending))
    return result


def migrate_guest(look: Look, process: Process, guest: Guest, target_name: str, takes_ns: int) -> Program:
    """``qm migrate VMID TARGET``, the part on this node: lock the configuration, copy, move it to the other's folder.

    It is written once with the lock and once more with the sizes of the disks (``QemuMigrate.pm: phase1``). The rename
    is the moment in which the guest changes hands. (What the target does then: ``unlock_guest``.)
    """
    config = look(guest.path)
    if config is None:
        return -Errno.ENOENT
    task = process.upid("qmigrate" if guest.kind == "qemu" else "vzmigrate", guest.vmid)
    yield Say("pvedaemon", f"starting task {task}")
    locked = with_option(config, "lock", "migrate")
    result = yield from file_set_contents(process, guest.path, locked)
    if result >= 0:
        result = yield from file_set_contents(process, guest.path, locked)
    why = "migration aborted"
    if result >= 0:
        yield Sleep(takes_ns)
        result = yield Call("rename", guest.path, to=guest._replace(node_name=target_name).path)
        why = "migration problems"
    return (yield from _end_task(task, result, why))


def unlock_guest(look: Look, process: Process, guest: Guest) -> Program:
    """``qm unlock VMID``: the configuration without its lock."""
    config = look(guest.path)
    if config is None:
        return -Errno.ENOENT
    return (yield from file_set_contents(process, guest.path, with_option(config, "lock", "")))


def destroy_guest(look: Look, process: Process, guest: Guest, takes_ns: int) -> Program:
    """``qm destroy``: an emptied configuration keeps the VMID while disks and permissions go, then it goes too."""
    if look(guest.path) is None:
        return -Errno.ENOENT
    task = process.upid("qmdestroy" if guest.kind == "qemu" else "vzdestroy", guest.vmid)
    yield Say("pvedaemon", f"starting task {task}")
    yield Sleep(takes_ns)
    result = yield from file_set_contents(process, guest.path, b"lock: destroyed\n")
    why = not_written(process.pid, guest.path, result)
    if result >= 0:
        result = yield from cfs_lock(look, "file-user_cfg", _wait(0))
        locked = _not_locked("file-user_cfg", result)
        why = f"access permissions cleanup for VM {guest.vmid} failed: {locked}"
    if result >= 0:
        result = yield Call("delete", guest.path)
        why = f"failed to remove config file: {_reason(result)}"
    return (yield from _end_task(task, result, why))


def with_option(config: bytes, option: str, value: str) -> bytes:
    """A guest's configuration with an option changed, added, or without it if ``value`` is empty."""
    now, pending = _sections(config)
    return _text(_changed(now, option, value), pending)


def with_pending(config: bytes, option: str, value: str) -> bytes:
    """The configuration with the same change not applied yet."""
    now, pending = _sections(config)
    if value:
        return _text(now, _changed(pending, option, value))
    return _text(now, _changed(_changed(pending, option, ""), "delete", option))


def applied(config: bytes) -> bytes:
    """The configuration with all that was pending applied."""
    now, pending = _sections(config)
    for line in pending:
        option, _, value = line.partition(": ")
        now = _changed(now, value, "") if option == "delete" else _changed(now, option, value)
    return _text(now, [])


def _sections(config: bytes) -> tuple[list[str], list[str]]:
    """The lines in force, and those of the section of pending changes."""
    now, _, pending = config.decode(errors="replace").partition(_PENDING)
    return now.splitlines(), pending.splitlines()


def _changed(lines: list[str], option: str, value: str) -> list[str]:
    others = [line for line in lines if line.partition(":")[0] != option]
    return sorted([*others, f"{option}: {value}"] if value else others)


def _text(now: list[str], pending: list[str]) -> bytes:
    lines = [*now, *(["", "[PENDING]", *pending] if pending else [])]
    return "".join(f"{line}\n" for line in lines).encode()


def not_written(pid: int, path: str, result: int) -> str:
    """What ``file_set_contents`` says when its first call is refused (which is nearly always where it fails)."""
    return f"unable to open file '/etc/pve/{path}.tmp.{pid}' - {_reason(result)}"


def _not_locked(lock: str, result: int) -> str:
    timeout = result == -Errno.ETIMEDOUT
    return f"cfs-lock '{lock}' error: {'got lock request timeout' if timeout else 'no quorum!'}"


def _reason(result: int) -> str:
    return reason(result) if result < 0 else ""


def _end_task(task: str, result: int, why: str) -> Program:
    """The last line of a task: OK, or the message it died with."""
    yield Say("pvedaemon", f"end task {task} {'OK' if result >= 0 else why}")
    return result


def _wait(delay_ns: int) -> Program:
    if delay_ns:
        yield Sleep(delay_ns)
    return 0
