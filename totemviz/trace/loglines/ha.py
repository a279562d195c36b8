"""Lines of Proxmox VE's HA manager, of watchdog-mux, and of the kernel's watchdog (pve-ha-manager 5, Linux)."""

from __future__ import annotations

_LOCK = "Env/PVE2.pm: get_pve_lock"
_MUX = "watchdog-mux.c: main"

LINES: tuple[tuple[str, str, str], ...] = (
    (
        "status change {} => {}",
        "LRM.pm: set_local_status",
        "The node's HA manager is in another state: active holds the node's lock and feeds the watchdog.",
    ),
    ("watchdog active", "Env/PVE2.pm: watchdog_open", "From here on the node resets itself if it is not fed."),
    ("successfully acquired lock '{}'", _LOCK, "The node holds its HA lock in /etc/pve/priv/lock."),
    (
        "lost lock '{} - {}",
        _LOCK,
        "The lock could not be renewed in time, so the watchdog is not fed: the node will be fenced in about a minute.",
    ),
    (
        "loop took too long ({} seconds)",
        "Env/PVE2.pm: loop_end_hook",
        "A round of the HA manager hung, nearly always in a write to /etc/pve.",
    ),
    (
        "unable to write lrm status file - {}",
        "LRM.pm: update_lrm_status",
        "/etc/pve cannot be written on this node: no quorum, or pmxcfs is stuck.",
    ),
    (
        "cluster file system update failed - {}",
        "Env/PVE2.pm: cluster_state_update",
        "pmxcfs does not answer: it is not running.",
    ),
    (
        "temporary inconsistent cluster state (cfs restart?), skip round",
        "LRM.pm: work",
        "The lock could be renewed all the same; the HA manager leaves its services alone this time.",
    ),
    ("added new client (PID {}) to watch", _MUX, "An HA daemon wants to be watched: it must report every minute."),
    (
        "client (PID {}) has disconnected cleanly. Removing it gracefully from the watch",
        _MUX,
        "An HA daemon said goodbye: it need not be watched any more.",
    ),
    ("client (PID {}) watchdog is about to expire", _MUX, "An HA daemon has been silent for long."),
    ("client (PID {}) watchdog was updated before expiring", _MUX, "It reported just in time."),
    (
        "client (PID {}) watchdog expired - disable watchdog updates",
        _MUX,
        "An HA daemon was silent for a minute: the watchdog device is not fed any more, nothing stops the reset now.",
    ),
    ("exit watchdog-mux with active connections", _MUX, "The last words of watchdog-mux: the device runs out in 10 s."),
    (
        "watchdog: watchdog0: watchdog did not stop!",
        "watchdog_dev.c: watchdog_release",
        "The device was closed without the magic letter, so the kernel lets it go on counting.",
    ),
    ("softdog: Initiating system reboot", "softdog.c: softdog_fire", "The software watchdog resets the node."),
)
