"""The simulated world: it drives the machines and writes the timeline.

Time is a heap of actions (``scheduler``), in integer nanoseconds. ``world.World`` runs one scenario: hosts (``host``)
with their threads and timers (``processes``, ``threads``, ``main_loop``) and what goes between their processes
(``local_ipc``, ``cpg_handle``), links (``network``), disks that hold a real SQLite database (``storage``, ``disk``,
``device``, ``vfs``, ``image``, ``profiles``; ``seed``: what it holds at the start), programs that write files
(``clients``; their system calls are in ``tools``) or use CPG (``programs``), the HA manager that must renew a lock or
be reset (``lrm``, ``watchdog``), and what people do to all of it (``interventions``, carried out by ``doing`` and the
modules ``*_tools``; ``conf_edits`` for corosync.conf).

The host carries out what a machine asks for, in order. The one subtle rule: a machine's handler runs at one moment, but
an fsync in the middle of its list of effects blocks the thread, and the rest of the list follows when the disk answers.
Which processes share a thread is the whole difference between the two host models, ``article`` and ``measured``.

One module stands apart: ``measure`` times this machine's own disk, with a real clock and real I/O, for the command
``totemviz disk``; no run uses it. What it found is kept as a profile (``saved_profiles``) and shown (``disk_report``).

Nothing else here may depend on the wall clock, on hash order or on unseeded chance: same scenario, same bytes. A
scenario plus the interventions with their positions is therefore a complete save file (``scenario``, read by
``toml_text``; ``possible`` says what can be done in a cluster), and changing the past is running it again, on a branch
(``branches``, in ``instalments``). The cockpit and the lessons talk to a ``session``; ``sharing`` saves it, ``folders``
says where, ``listing`` looks into a node's /etc/pve.
"""
