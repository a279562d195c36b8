"""What happened: the event vocabulary, the timeline, and everything that is read from one.

A *timeline* is an append-only list of events; an event has a time, a node, a body and a cause. Simulated and recorded
worlds write the same events, so nothing that reads a timeline needs to know where it came from. Whatever a person sees
is a fold: ``view.ClusterView`` takes events in order, and a ``cursor.Cursor`` can stand at any of them. Stepping back
is moving the cursor.

    events       every kind of event there is, in one registry
    timeline     the list, its file form (JSON lines) and its digest
    view         the cluster after an event (node_view: one node; journeys: its writes; trees: /etc/pve on every node)
    cursor       going anywhere (deliveries: where a message had reached everybody)
    timers       what timers of a node run, and when they run out (periodic: those that start themselves again)
    follower     what all indexes beside a timeline have in common: each event is looked at once
    conditions   a small language over the view (condition_words: its words), for stops: where a run is held
    watch        the invariants, checked while a run grows
    causes, why  what led to an event: the graph of causes, and the story in it
    compare      two runs, or two nodes, side by side; idle: what a ring does while nobody wants anything
    wallclock    the wall clock of a node, which may be wrong (logs: the log files as it stamps them)
    loglines     what every line of a log means, and which function prints it
    sentences    an event in plain words (words: the small ones all share); headline: what is going on
    transcript   a run as text, one event a line; summary: a run in figures
    capture      files of real traffic → UDP datagrams (recorded_fragments, recorded_knet: what they came in)
    recorded     datagrams → a timeline (recorded_rings: what is true of a ring; recorded_node: what one node must have
                 done; recorded_draft: events before they have their numbers)
    recorded_pmxcfs    recorded CPG messages through our pmxcfs → the config.db of a recorded node (recorded_order,
                       recorded_services, recorded_evidence)
    shadow       our machine in the place of a recorded node, compared with it (shadow_record: what the capture shows;
                 shadow_start: how a life begins; shadow_links: whom knet reached; shadow_stage: the play;
                 shadow_services: the same for sync, CPG, votequorum and cmap)
    checks       the protocol's invariants, as checkers that say why something is false
"""
