"""/etc/pve: how a Proxmox VE cluster keeps one file system on every node (pmxcfs 9.1.6).

Every node holds the whole tree in memory and reads only from there (``memdb``). A client that changes something does
not change the tree: it multicasts a message to the group ``pve_dcdb_v1`` and waits until that message comes back to
it. Corosync delivers all messages to all nodes in one order, each node applies them as they come, and so all trees
stay equal without any further agreement. That is state machine replication; the rest of this room is about the
moments when it is not enough.

* A node was away. When the group changes, all members send an *index*, one digest per file; everybody picks the same
  leader, the highest version, and who differs takes over the leader's tree as a whole (``dfsm``, ``dcdb``).
* A part of the cluster has no quorum. Its writes are refused before they are sent, and once more at delivery. This
  is why "the highest version wins" loses nothing: only one part can make versions.
* The process restarts. Every change is also one transaction in SQLite (``database``). Commits go to the write-ahead
  log and do not wait for the disk; nobody waits for another node's commit at all.

Where to read on:

    index     entries, digests, and the bytes two nodes compare       messages    the bytes on the wire
    memdb     the file operations and their errno                     threads     code that waits, as generators
    guests, locks    two rules that look across the tree              connection  one CPG handle and its retries
    database  config.db                                               dfsm, modes    the state machine over a group
    dcdb, status, clusterlog    what the two groups replicate         services    connecting to corosync, and again
    plugs, ipc    what is shown beside the tree, and asked locally     corosync_conf    its way to /etc/corosync
    changes   counters in ``.version``                                process, effects, errors, ascii    shared by all
    application    what the dfsm needs from the data                  machine, shown    ``Pmxcfs``: all of it

``Pmxcfs`` knows no clock and no socket. It is told what happens and returns what it does, in order; the world around
it answers every CPG call with ``cpg_result`` and lets a ``DiskIo`` take its time before it carries on with the list.
Known faults of the original are kept where they show, and marked "quirk Qn"; ``process.Quirks`` can turn one off.

Not modelled: RRD files, which lie outside /etc/pve, below /var/lib/rrdcached (what ``.rrd`` shows is there), the bytes
of the local IPC socket, and the kernel's own checks and caches in front of FUSE. CPG group names are passed without
the NUL that pmxcfs counts as part of them.
"""
