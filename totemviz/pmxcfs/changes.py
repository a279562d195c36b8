"""Which files clients keep parsed, and how often each has changed (sheet §2.7, ``status.c: memdb_change_array``).

The counters are this process' own and start anew with it. A Perl client reads ``.version`` and parses a file again
only if its counter moved; a path that is not in the list is read every time.
"""

from __future__ import annotations

OBSERVED_PATHS = (
    "corosync.conf",
    "corosync.conf.new",
    "storage.cfg",
    "user.cfg",
    "domains.cfg",
    "notifications.cfg",
    "priv/notifications.cfg",
    "priv/shadow.cfg",
    "priv/acme/plugins.cfg",
    "priv/tfa.cfg",
    "priv/token.cfg",
    "priv/wg-keys.cfg",
    "datacenter.cfg",
    "vzdump.cron",
    "vzdump.conf",
    "jobs.cfg",
    "ha/crm_commands",
    "ha/manager_status",
    "ha/resources.cfg",
    "ha/rules.cfg",
    "ha/groups.cfg",
    "ha/fence.cfg",
    "status.cfg",
    "replication.cfg",
    "ceph.conf",
    "sdn/vnets.cfg",
    "sdn/zones.cfg",
    "sdn/controllers.cfg",
    "sdn/subnets.cfg",
    "sdn/ipams.cfg",
    "sdn/mac-cache.json",
    "sdn/pve-ipam-state.json",
    "sdn/dns.cfg",
    "sdn/fabrics.cfg",
    "sdn/route-maps.cfg",
    "sdn/prefix-lists.cfg",
    "sdn/.running-config",
    "virtual-guest/cpu-models.conf",
    "virtual-guest/profiles.cfg",
    "firewall/cluster.fw",
    "mapping/directory.cfg",
    "mapping/pci.cfg",
    "mapping/usb.cfg",
)


class ChangeCounters:
    """The counters by path, in the order ``.version`` shows them."""

    def __init__(self) -> None:
        self.versions = dict.fromkeys(OBSERVED_PATHS, 0)

    def changed(self, path: str) -> None:
        """An operation touched this path (``record_memdb_change``). Another spelling of a path is not recognised."""
        if path in self.versions:
            self.versions[path] += 1

    def reloaded(self) -> None:
        """The whole tree was read or received anew (``record_memdb_reload``)."""
        for path in self.versions:
            self.versions[path] += 1
