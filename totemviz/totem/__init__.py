"""The Totem Single-Ring Protocol as corosync 3.1 runs it, without clocks and sockets.

A *ring* is an agreed membership. A *token* goes round it; who holds the token may number messages (``seq``) and
multicast them, so every member delivers the same messages in the same order. When the token does not come, the members
*gather*, agree on who is left with a *commit token*, *recover* what some of them lack of the old ring, and begin a new
one. All of it is here, in the bytes and with the timers of the original.

Start with ``ring``: ``Ring`` takes datagrams, timer expiries and messages in, and gives an ordered list of effects
(``effects``) out. It looks every input up in ``table.TABLE`` (input × state → procedure), which is also what the docs,
the state picture (``diagram``) and the tests read. The procedures:

    token        one token visit, in the exact order of the original; its four stages are what people see
    ordering     storing, delivering, freeing messages
    membership   GATHER and COMMIT: joins, consensus, the commit token
    recovery     RECOVERY and OPERATIONAL: the end of the old ring, the beginning of the new
    pg           many small messages in one packet, one large message in many

They share one ``instance.Instance``: a node's state under the names the sources use, its membership state (``states``)
and its stored messages (``queues``) among it. ``wire`` has the six messages in their bytes, ``seq`` the arithmetic of
their numbers, ``config`` the timeouts and how they follow from corosync.conf's keys.

Facts are cited by function (``totemsrp.c: message_handler_orf_token``) or by section of the fact sheet (§). Where the
original has a flaw people can see, it is here too, behind a name in ``config.Quirks``.
"""
