"""Known deviations of the real daemon above the ring, faithful by default; turn one off to see the difference."""

from __future__ import annotations

from totemviz.totem import config


class Quirks(config.Quirks, frozen=True, forbid_unknown_fields=True):
    """Those of the ring, and those of the services on it."""

    barrier_abort_keeps_joinlists: bool = True
    """A ring that breaks while CPG's barrier is open leaves the joinlists of that ring behind; the next sync takes them
    for its own. A node that joined and was gone before the barrier is then a member of groups, although it never was
    in an activated view, and pmxcfs waits for its state for ever (``sync.c: sync_abort``; mended after 3.1.10)."""

    join_list_outlives_leave: bool = True
    """A process that leaves its group between its node's joinlist and the end of CPG's sync is put back into the group
    by that list on all other nodes, until the next sync finds it missing (``cpg.c: joinlist_inform_clients``)."""

    ev_tracking_never_saved: bool = True
    """expected_votes_tracking closes its file right after reading it: no later value reaches the disk, each attempt is
    a warning in the log, and a restart begins at 0 (``votequorum.c: load_ev_tracking_barrier``)."""
