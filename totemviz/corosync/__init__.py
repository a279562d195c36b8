"""What corosync stacks on the ring: corosync.conf, the sync service, CPG, quorum, and the daemon around them.

The ring below this room gives three things, in one order on all members: packets, configuration changes, and the
moments at which a token has left. Everything here is made of those three.

    clients      cpg_join · cpg_leave · cpg_mcast · cpg_disconnect                         daemon.py, ipc.py
    services     cmap (0) · cpg (2) · quorum (3) · votequorum (5)                          cmap, cpg, quorum, votequorum
    sync         after a new ring: service build, then per service process, barrier, activate             sync.py
    messages     group address + service message, corosync's bytes                wire, layouts, decoders
    ring         totemviz.totem

Rules of the room:

* Nothing takes effect when it is asked for. A join, a leave, a message, a vote counts when the ring delivers it,
  at the same place of the order on every member; so all members compute the same views without asking each other.
* While a membership change is being digested (from the transitional configuration to the last service's
  activation) clients may not send: they get TRY_AGAIN. Messages they had queued before are kept by the ring and
  flow when sync is complete. So a view change lies cleanly between the old ring's messages and the new one's.
* A service sees the daemon only through ``service.Core`` (send, emit, log), and the sync machine sees a service only
  through ``service.SyncService``. The daemon walks the ring's outputs in order and calls them at the exact place, so
  the log lines and observations of a run come out in corosync's own order.
* Log lines are corosync's, word for word, debug lines included; ``lines`` holds those that depend on nothing.

To read it: ``daemon.Daemon._walk`` and ``_configuration_change``, then ``sync``, then one service (``cpg``).
``conf`` stands apart: it turns the text of a corosync.conf into checked values (``grammar`` is its grammar),
and ``report`` explains such a file to its admin (``arithmetic`` of votes, ``advice``).

Not simulated yet: messages above 1 MiB (partial messages are decoded, not sent) and the IPC rings behind a client.
"""
