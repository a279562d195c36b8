"""Log lines of start and stop, which follow from the configuration alone (sheet §10.2, §10.5, §10.6)."""

from __future__ import annotations

from collections.abc import Iterator

from totemviz.corosync.conf import CorosyncConf
from totemviz.totem.config import TotemConfig, Transport
from totemviz.totem.effects import Level, Log

VERSION = "3.1.7"  # this and the features as recorded, from the package of Debian 12
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

TRANSPORTS = {
    Transport.KNET: "Kronosnet",
    Transport.UDPU: "UDP/IP Unicast",
    Transport.UDP: "UDP/IP Multicast",
}
PORT = 5405

STARTING = (
    Log(Level.NOTICE, "MAIN", f"Corosync Cluster Engine {VERSION} starting up"),
    Log(Level.INFO, "MAIN", f"Corosync built-in features: {FEATURES}"),
)
USING_VOTEQUORUM = Log(Level.NOTICE, "QUORUM", "Using quorum provider corosync_votequorum")
SYNC_COMPLETED = Log(Level.NOTICE, "MAIN", "Completed service synchronization, ready to provide service.")
SHUT_DOWN_BY_SIGNAL = Log(Level.NOTICE, "MAIN", "Node was shut down by a signal")
ONLY_AT_START = ("send threads", "HeartBeat", "total heartbeat", "heartbeat_timeout =", "heartbeat timeout")
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


def key_changed(conf: CorosyncConf) -> Iterator[Log]:
    """A key of the totem section was set in the map: the parameters from now on."""
    yield Log(Level.DEBUG, "TOTEM", "Totem related config key changed. Dumping actual totem config.")
    yield from _dumped(conf.totem)


def _dumped(totem: TotemConfig) -> Iterator[Log]:
    """The parameters as a change at run time dumps them (``totemconfig.c: debug_dump_totem_config``)."""
    texts = (text for text in _parameters(totem) if not text.startswith(ONLY_AT_START))
    return (Log(Level.DEBUG, "TOTEM", text) for text in texts)


def conf_reloaded(old: CorosyncConf, new: CorosyncConf, nodeid: int) -> Iterator[Log]:
    """Another corosync.conf comes into force: the parameters so far, then who is new or gone, link by link.

    (``totemconfig.c: totemconfig_configure_new_params, totemconfig_commit_new_params``; the parameters it dumps are
    the old ones, for it does so before it reads the new.)
    """
    yield Log(Level.DEBUG, "TOTEM", "Configuration reloaded. Dumping actual totem config.")
    yield from _dumped(old.totem)
    for index, link in enumerate(new.links):
        yield from _link_configured(new, nodeid, index)
        before, after = ([node.addresses[index : index + 1] for node in conf.nodes] for conf in (old, new))
        for gone in (address for address in before if address and address not in after):
            yield Log(Level.DEBUG, "TOTEM", f"removing dynamic member {gone[0]} for ring {link}")
        for added in (address for address in after if address not in before):
            yield Log(Level.DEBUG, "TOTEM", f"adding dynamic member {added[0]} for ring {link}")


def services_unloaded() -> Iterator[Log]:
    """All service engines go, those with clients after their sockets."""
    yield Log(Level.NOTICE, "SERV", "Unloading all Corosync service engines.")
    for name in UNLOAD_ORDER:
        if name not in WITHOUT_IPC:
            yield Log(Level.INFO, "QB", "withdrawing server sockets")
            yield Log(Level.DEBUG, "QB", "qb_ipcs_unref() - destroying")
        yield Log(Level.NOTICE, "SERV", f"Service engine unloaded: {SERVICES[name]}")


def ring_initialised(conf: CorosyncConf) -> Iterator[Log]:
    """The ring's parameters, then the transport."""
    for text in _parameters(conf.totem):
        yield Log(Level.DEBUG, "TOTEM", text)
    yield Log(Level.NOTICE, "TOTEM", f"Initializing transport ({TRANSPORTS[conf.transport]}).")
    if conf.transport is Transport.KNET:
        yield Log(Level.INFO, "TOTEM", "totemknet initialized")


def _parameters(totem: TotemConfig) -> Iterator[str]:
    """What totemsrp prints about itself (``totemsrp.c: totemsrp_initialize``)."""
    yield f"Token Timeout ({totem.token_ms} ms) retransmit timeout ({totem.token_retransmit_ms} ms)"
    if totem.token_warning_percent:
        yield f"Token warning every {totem.token_warning_ms} ms ({totem.token_warning_percent}% of Token Timeout)"
        if totem.token_warning_ms < totem.token_retransmit_ms:
            yield (
                f"The token warning interval ({totem.token_warning_ms} ms) is less than the token retransmit timeout "
                f"({totem.token_retransmit_ms} ms) which can lead to spurious token warnings. "
                "Consider increasing the token_warning parameter."
            )
    else:
        yield "Token warnings disabled"
    retransmits = totem.token_retransmits_before_loss_const
    yield f"token hold ({totem.hold_ms} ms) retransmits before loss ({retransmits} retrans)"
    yield (
        f"join ({totem.join_ms} ms) send_join ({totem.send_join_ms} ms) "
        f"consensus ({totem.consensus_ms} ms) merge ({totem.merge_ms} ms)"
    )
    yield f"downcheck ({totem.downcheck_ms} ms) fail to recv const ({totem.fail_recv_const} msgs)"
    yield f"seqno unchanged const ({totem.seqno_unchanged_const} rotations) Maximum network MTU {totem.net_mtu}"
    yield (
        f"window size per rotation ({totem.window_size} messages) "
        f"maximum messages per rotation ({totem.max_messages} messages)"
    )
    yield f"missed count const ({totem.miss_count_const} messages)"
    yield "send threads (0 threads)"
    yield f"heartbeat_failures_allowed ({totem.heartbeat_failures_allowed})"
    yield f"max_network_delay ({totem.max_network_delay_ms} ms)"
    yield from _heartbeat(totem)


def _heartbeat(totem: TotemConfig) -> Iterator[str]:
    if not totem.heartbeat_failures_allowed:
        yield "HeartBeat is Disabled. To enable set heartbeat_failures_allowed > 0"
        return
    timeout_ms = totem.heartbeat_failures_allowed * totem.token_retransmit_ms + totem.max_network_delay_ms
    if totem.heartbeat_ms:
        yield f"total heartbeat_timeout ({timeout_ms} ms)"
        return
    yield f"total heartbeat_timeout ({timeout_ms} ms) is not less than token timeout ({totem.token_ms} ms)"
    yield "heartbeat_timeout = heartbeat_failures_allowed * token_retransmit_timeout + max_network_delay"
    yield "heartbeat timeout should be less than the token timeout. Heartbeat is disabled!!"


def interface_up(conf: CorosyncConf, nodeid: int) -> Iterator[Log]:
    """UDP and UDPU tell when their interface is found; knet does not."""
    if conf.transport is not Transport.KNET:
        address = conf.node(nodeid).addresses[0]
        yield Log(Level.NOTICE, "TOTEM", f"The network interface [{address}] is now up.")


def links_configured(conf: CorosyncConf, nodeid: int) -> Iterator[Log]:
    """Every link and who is to be reached over it."""
    for index, link in enumerate(conf.links):
        yield from _link_configured(conf, nodeid, index)
        # the places of the nodelist in the order of the keys in corosync's map: 0, 1, 10, 11, 2 …
        for _, node in sorted(enumerate(conf.nodes), key=lambda placed: str(placed[0])):
            address = node.addresses[index]
            yield Log(Level.DEBUG, "TOTEM", f"adding dynamic member {address} for ring {link}")
            if conf.transport is Transport.UDPU:
                yield Log(Level.NOTICE, "TOTEM", f"adding new UDPU member {{{address}}}")


def _link_configured(conf: CorosyncConf, nodeid: int, index: int) -> Iterator[Log]:
    """The node's own end of a link; nothing of it if the nodelist does not name the node."""
    link = conf.links[index]
    yield Log(Level.INFO, "TOTEM", f"Configuring link {link}")
    local = next((node.addresses[index] for node in conf.nodes if node.nodeid == nodeid), None)
    if conf.transport is Transport.KNET and local is not None:
        text = f"Configured link number {link}: local addr: {local}, port={PORT + link}"
        yield Log(Level.INFO, "TOTEM", text)
