"""What corosync stacks on the ring: corosync.conf, the sync service, CPG, quorum, and the daemon around them.

The ring below this room gives three things, in one order on all members: packets, configuration changes, and the
moments at which a token has left. Everything here is made of those three.

    clients      their library (libcpg), their rings (ipc), the daemon's side of both (ipc_server, requests)
    services     cmap (0) · cfg (1) · cpg (2) · quorum (3) · votequorum (5)        of these names; votes, qdevice
    sync         after a new ring: service build, then per service process, barrier, activate            sync
    messages     group address + service message, corosync's bytes                wire, layouts, decoders
    ring         totemviz.totem, as the daemon uses it                            ring_machine
    main thread  does it run in time, does a ring come about                      watches

Rules of the room:

* Nothing takes effect when it is asked for. A join, a leave, a message, a vote counts when the ring delivers it,
  at the same place of the order on every member; so all members compute the same views without asking each other.
* While a membership change is being digested (from the transitional configuration to the last service's
  activation) clients may not send: they get TRY_AGAIN. Messages they had queued before are kept by the ring and
  flow when sync is complete. So a view change lies cleanly between the old ring's messages and the new one's.
* The main thread waits for no client. A sender waits for a sync and for its own node's send queue, and for nothing
  else: not for readers, here or elsewhere. Events that a client does not read fill its ring of 1 MiB and then the
  daemon's heap, without limit. What the main thread does wait for is the ring-id file, and the processor.
* A service sees the daemon only through ``service.Core`` (send, emit, log), and the sync machine sees a service only
  through ``service.SyncService``. The daemon walks the ring's outputs in order and calls them at the exact place, so
  the log lines and observations of a run come out in corosync's own order.
* Log lines are corosync's, word for word, debug lines included; ``lines`` holds those that depend on nothing.

To read it: ``daemon.Daemon._walk`` and ``_configuration_change``, then ``sync``, then one service (``cpg``).
``cfg`` has corosync.conf read again while all runs. ``conf`` stands apart: it turns the text of a corosync.conf into
checked values (``grammar`` is its grammar, ``keys`` its table of keys, ``options`` reads the quorum section), and
``report`` explains such a file to its admin
(``arithmetic`` of votes, ``advice``). Flaws of the real services that a user can meet are switches in ``quirks``.

Not simulated: the connections of quorum and cmap clients (they are told without a ring in between), CPG's calls that
only ask, and its event about the ring's members, which the library drops unless a client wants it.
"""
