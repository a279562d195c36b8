"""Log lines of start and stop that do not depend on anything: subsystem, level and wording (sheet §10.5, §10.6)."""

from __future__ import annotations

from collections.abc import Iterator

from totemviz.totem.effects import Level, Log

VERSION = "3.1.9"
FEATURES = "dbus monitoring watchdog augeas systemd xmlconf vqsim nozzle snmp pie relro bindnow"

SERVICES = {
    "cmap": "corosync configuration map access",
    "cfg": "corosync configuration service",
    "cpg": "corosync cluster closed process group service v1.01",
    "pload": "corosync profile loading service",
    "mon": "corosync resource monitoring service",
    "wd": "corosync watchdog service",
    "votequorum": "corosync vote quorum service v1.0",
    "quorum": "corosync cluster quorum service v0.1",
}
SERVICE_IDS = {"cmap": 0, "cfg": 1, "cpg": 2, "quorum": 3, "pload": 4, "votequorum": 5, "mon": 6, "wd": 7}
WITHOUT_IPC = ("pload", "mon", "wd")
LOADED_BEFORE_QUORUM = ("cmap", "cfg", "cpg", "pload", "mon", "wd")
UNLOAD_ORDER = ("votequorum", "cmap", "cfg", "cpg", "quorum", "pload", "mon", "wd")

STARTING = (
    Log(Level.NOTICE, "MAIN", f"Corosync Cluster Engine {VERSION} starting up"),
    Log(Level.INFO, "MAIN", f"Corosync built-in features: {FEATURES}"),
)
USING_VOTEQUORUM = Log(Level.NOTICE, "QUORUM", "Using quorum provider corosync_votequorum")
SYNC_COMPLETED = Log(Level.NOTICE, "MAIN", "Completed service synchronization, ready to provide service.")
SHUT_DOWN_BY_SIGNAL = Log(Level.NOTICE, "MAIN", "Node was shut down by a signal")
EXITING = Log(Level.NOTICE, "MAIN", "Corosync Cluster Engine exiting normally")

WATCHDOG = (
    Log(Level.DEBUG, "WD", "The Watchdog timeout is 6 seconds"),
    Log(Level.DEBUG, "WD", "The tickle timeout is 3000 ms"),
    Log(Level.WARNING, "WD", "Watchdog not enabled by configuration"),
    Log(Level.WARNING, "WD", "resource load_15min missing a recovery key."),
    Log(Level.WARNING, "WD", "resource memory_used missing a recovery key."),
    Log(Level.INFO, "WD", "no resources configured."),
)


def service_loaded(name: str) -> Iterator[Log]:
    """A service engine comes up, and its IPC if it has clients."""
    number = SERVICE_IDS[name]
    if name == "wd":
        yield from WATCHDOG
    yield Log(Level.NOTICE, "SERV", f"Service engine loaded: {SERVICES[name]} [{number}]")
    if name in WITHOUT_IPC:
        yield Log(Level.DEBUG, "MAIN", f"NOT Initializing IPC on {name} [{number}]")
        return
    yield Log(Level.DEBUG, "MAIN", f"Initializing IPC on {name} [{number}]")
    yield Log(Level.DEBUG, "MAIN", "No configured system.qb_ipc_type. Using native ipc")
    yield Log(Level.INFO, "QB", f"server name: {name}")


def services_unloaded() -> Iterator[Log]:
    """All service engines go, those with clients after their sockets."""
    yield Log(Level.NOTICE, "SERV", "Unloading all Corosync service engines.")
    for name in UNLOAD_ORDER:
        if name not in WITHOUT_IPC:
            yield Log(Level.INFO, "QB", "withdrawing server sockets")
            yield Log(Level.DEBUG, "QB", "qb_ipcs_unref() - destroying")
        yield Log(Level.NOTICE, "SERV", f"Service engine unloaded: {SERVICES[name]}")
