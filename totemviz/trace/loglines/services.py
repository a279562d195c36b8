"""Lines of what corosync stacks on the ring: the daemon, sync, CPG, votequorum, cmap, watchdog, IPC."""

from __future__ import annotations

_QUORUM = "vsf_quorum.c: quorum_api_set_quorum"
_VIEW = "vsf_quorum.c: log_view_list"
_CALCULATE = "votequorum.c: calculate_quorum"
_TIE = "votequorum.c: check_auto_tie_breaker"
_READ = "votequorum.c: votequorum_readconfig"
_SYNC = "sync.c: sync_service_build_handler"
_CMAP = "cmap.c: cmap_sync_activate"
_IPC = "ipc_glue.c: cs_ipcs_service_init"

LINES: tuple[tuple[str, str, str], ...] = (
    # the daemon
    ("Corosync Cluster Engine {} starting up", "main.c: main", "The daemon starts; its version."),
    ("Corosync built-in features: {}", "main.c: main", "What this build can do."),
    ("Service engine loaded: {} [{}]", "service.c: corosync_service_link_and_init", "A service is ready for clients."),
    ("Unloading all Corosync service engines.", "service.c: service_exit_schedwrk_handler", "The daemon is going."),
    (
        "Service engine unloaded: {}",
        "service.c: corosync_service_unlink_and_exit_priority",
        "A service has ended; its clients lose their connections.",
    ),
    (
        "Config reload requested by node {}",
        "cfg.c: message_handler_req_exec_cfg_reload_config",
        "Somebody ran corosync-cfgtool -R there: every corosync reads its own /etc/corosync/corosync.conf again.",
    ),
    (
        "Modified entry '{}' in corosync.conf cannot be changed at run-time",
        "cfg.c: delete_and_notify_if_changed",
        "This key takes effect only when corosync is started again.",
    ),
    (
        "Unable to reload config file: {}",
        "cfg.c: message_handler_req_exec_cfg_reload_config",
        "The file is wrong: what was in force stays in force on this node.",
    ),
    (
        "Configuration reloaded. Dumping actual totem config.",
        "totemconfig.c: totemconfig_configure_new_params",
        "The lines that follow show the values that were in force so far.",
    ),
    (
        "Totem related config key changed. Dumping actual totem config.",
        "totemconfig.c: totem_change_notify",
        "Somebody set a key at run time (corosync-cmapctl -s); the lines that follow show the values from now on.",
    ),
    (
        "removing dynamic member {} for ring {}",
        "totemconfig.c: compute_and_set_totempg_interfaces",
        "A reload: this address is no longer in the node list.",
    ),
    (
        "Node was shut down by a signal",
        "main.c: sig_exit_handler",
        "Somebody stopped corosync: a clean leave.",
    ),
    ("Corosync Cluster Engine exiting normally", "util.c: _corosync_exit_error", "The last line of a clean shutdown."),
    (
        "Corosync Cluster Engine exiting with status {} at {}.",
        "util.c: _corosync_exit_error",
        "The daemon gives up; the line before says why.",
    ),
    (
        "Completed service synchronization, ready to provide service.",
        "main.c: corosync_sync_completed",
        "All services of all members agree on the new ring: messages of clients flow again.",
    ),
    (
        "Corosync main process was not scheduled (@{}) for {} ms (threshold is {} ms). "
        "Consider token timeout increase.",
        "main.c: timer_function_scheduler_timeout",
        "The daemon itself did not run for that long: an overloaded or paused host, or a write to a stalled disk.",
    ),
    (
        "Totem is unable to form a cluster because of an operating system or network fault (reason: {}). "
        "The most common cause of this message is that the local firewall is configured improperly.",
        "main.c: corosync_totem_stats_updater",
        "More than three times running all agreed on members, and then no commit token came: looked at every 1.5 s.",
    ),
    (
        "Storing new sequence id for ring {}",
        "main.c: corosync_ring_id_store",
        "The ring sequence goes to a small file, on the main thread: a stalled disk stalls the daemon here.",
    ),
    (
        "Couldn't store new ring id {} to stable storage{}",
        "main.c: corosync_ring_id_store",
        "The ring-id file cannot be written (disk full, read-only, broken): corosync ends.",
    ),
    ("Member left: {}", "main.c: member_object_left", "This node is in the ring no more."),
    ("Member joined: {}", "main.c: member_object_joined", "This node is in the ring now."),
    # IPC
    ("Initializing IPC on {} [{}]", _IPC, "The service opens a socket for clients."),
    ("NOT Initializing IPC on {} [{}]", _IPC, "The service has no clients."),
    ("No configured system.qb_ipc_type. Using native ipc", "ipc_glue.c: cs_get_ipc_type", "Shared memory, as always."),
    ("server name: {}", "ipc_setup.c: qb_ipcs_us_publish", "The name of the socket clients connect to."),
    ("withdrawing server sockets", "ipc_setup.c: qb_ipcs_us_withdraw", "No new clients of this service."),
    ("qb_ipcs_unref() - destroying", "ipcs.c: qb_ipcs_unref", "The service's socket is gone."),
    (
        "Denied connection, corosync is not ready",
        "ipc_glue.c: cs_ipcs_connection_accept",
        "A client came before the first synchronisation was over; it has to try again.",
    ),
    (
        "*** cs_ipcs_msg_process() ({}:{} - {}) {}!",
        "ipc_glue.c: cs_ipcs_msg_process",
        "The send queue of the ring is full: the client's message is not taken, it has to try again.",
    ),
    ("Q empty, queued:{} sent:{}.", "ipc_glue.c: outq_flush", "A client that had not read for a while caught up."),
    ("Q event:{}", "ipc_glue.c: msg_send_or_queue", "A client does not read: its events wait in memory."),
    ("exit_fn for conn={}", "cpg.c: cpg_lib_exit_fn", "A client of CPG is gone, with or without goodbye."),
    # sync
    (
        "call init for locally known services",
        "sync.c: sync_servicelist_build_enter",
        "Each service that is synchronised starts over for the new ring.",
    ),
    (
        "enter sync process",
        _SYNC,
        "All have told which services they have: one after the other is synchronised.",
    ),
    ("service build for old ring - discarding", _SYNC, "A message of a ring that is no more."),
    ("barrier for old ring - discarding", "sync.c: sync_barrier_handler", "A message of a ring that is no more."),
    (
        "Committing synchronization for {}",
        "sync.c: sync_barrier_handler",
        "All members have reached the end of this service's synchronisation.",
    ),
    # CPG
    (
        "got procjoin message from cluster node {} ({}) for pid {}",
        "cpg.c: message_handler_req_exec_cpg_procjoin",
        "A process on that node joined a group; all learn it at the same place in the order.",
    ),
    (
        "got procleave message from cluster node {} ({}) for pid {}",
        "cpg.c: message_handler_req_exec_cpg_procleave",
        "A process on that node left its group.",
    ),
    (
        "got joinlist message from node {}",
        "cpg.c: message_handler_req_exec_cpg_joinlist",
        "After a new ring each node tells which of its processes are in which group.",
    ),
    (
        "downlist left_list: {} received",
        "cpg.c: message_handler_req_exec_cpg_downlist",
        "A node tells how many nodes it lost; corosync 3 only logs it.",
    ),
    ("my downlist: members(old:{} left:{})", "cpg.c: downlist_log", "How many nodes this one had and lost."),
    ("left_list_entries:{}", "cpg.c: downlist_inform_clients", "So many processes of lost nodes leave their groups."),
    ("left_list[{}] group:{}, ip:{}, pid:{}", "cpg.c: downlist_inform_clients", "One of those processes."),
    (
        "joinlist_messages[{}] group:{}, ip:{}, pid:{}",
        "cpg.c: joinlist_inform_clients",
        "A process that the joinlists of this ring name.",
    ),
    ("got leave request on {}", "cpg.c: message_handler_req_lib_cpg_leave", "A client leaves its group."),
    (
        "*** {} can't mcast to group {} state:{}, error:{}",
        "cpg.c: message_handler_req_lib_cpg_mcast",
        "A client sends to a group it is not in (yet, or any more): the message is lost.",
    ),
    (
        "got fragmented mcast request on {}",
        "cpg.c: message_handler_req_lib_cpg_partial_mcast",
        "A client sends a part of a message that is too big for one.",
    ),
    (
        "Sending fragmented message size = {} bytes",
        "cpg.c: message_handler_req_lib_cpg_partial_mcast",
        "That part is on its way into the order.",
    ),
    (
        "Got fragmented message from node {}, size = {} bytes",
        "cpg.c: message_handler_req_exec_cpg_partial_mcast",
        "A part of a big message arrived in its place in the order.",
    ),
    (
        "Unknown node -> we will not deliver message",
        "cpg.c: message_handler_req_exec_cpg_mcast",
        "A message of a process that no joinlist names: it is not delivered.",
    ),
    # quorum
    ("Using quorum provider corosync_votequorum", "vsf_quorum.c: quorum_exec_init_fn", "Votes decide who is quorate."),
    (
        "This node is within the primary component and will provide service.",
        _QUORUM,
        "Quorum gained: on Proxmox VE /etc/pve becomes writable here.",
    ),
    (
        "This node is within the non-primary component and will NOT provide any services.",
        _QUORUM,
        "Quorum lost: on Proxmox VE /etc/pve becomes read-only here.",
    ),
    ("Members[{}]: {}", _VIEW, "Who is in the ring, as told to clients of the quorum service."),
    ("Members[{}]:{}", _VIEW, "Who is in the ring, as told to clients of the quorum service."),
    ("Sync members[{}]:{}", _VIEW, "The members that synchronise now."),
    ("Sync joined[{}]:{}", _VIEW, "Those that were not in the ring before."),
    ("Sync left[{}]:{}", _VIEW, "Those that were in the ring before and are not now."),
    (
        "sending quorum notification to {}, length = {}",
        "vsf_quorum.c: send_library_notification",
        "Clients that follow the quorum are told.",
    ),
    (
        "sending nodelist notification to {}, length = {}",
        "vsf_quorum.c: send_nodelist_library_notification",
        "Clients that follow the node list are told.",
    ),
    (
        "Waiting for all cluster members. Current votes: {} expected_votes: {}",
        "votequorum.c: are_we_quorate",
        "wait_for_all: after a cold start nobody is quorate before all were seen once.",
    ),
    ("quorum regained, resuming activity", "votequorum.c: are_we_quorate", "The votes of the members suffice again."),
    ("quorum lost, blocking activity", "votequorum.c: are_we_quorate", "The votes of the members do not suffice."),
    ("total_votes={}, expected_votes={}", "votequorum.c: recalculate_quorum", "The sum before quorum is decided."),
    ("node {} state={}, votes={}, expected={}", _CALCULATE, "A row of the table of votes (state 1: member)."),
    ("node 0 state=1, votes={}", _CALCULATE, "The votes of the quorum device."),
    ("lowest node id: {} us: {}", "votequorum.c: get_lowest_node_id", "Who is the lowest node, for the tie breaker."),
    (
        "highest node id: {} us: {}",
        "votequorum.c: get_highest_node_id",
        "The highest node, for the tie breaker.",
    ),
    ("ATB_LOWEST decision: {}", _TIE, "The tie breaker: is the lowest node in this half?"),
    ("ATB_HIGHEST decision: {}", _TIE, "The tie breaker: is the highest node in this half?"),
    ("ATB_{} decision: {}", _TIE, "What the tie breaker decided for an even split."),
    (
        "ATB_LIST found node {} in previous partition but not here, quorum denied",
        _TIE,
        "The node of the tie breaker's list that counts is in the other half.",
    ),
    ("ATB_LIST found node {} in current partition, we can be quorate", _TIE, "The listed node is in this half."),
    (
        "ATB_LIST found no list nodes in current partition, we cannot be quorate",
        _TIE,
        "None of the listed nodes is in this half.",
    ),
    ("Reading configuration (runtime: {})", _READ, "votequorum reads its options; runtime 1: after a reload."),
    (
        "ev_tracking={}, ev_tracking_barrier = {}: expected_votes = {}",
        _READ,
        "expected_votes_tracking: the highest number of expected votes ever seen is kept on disk.",
    ),
    (
        "got nodeinfo message from cluster node {}",
        "votequorum.c: message_handler_req_exec_votequorum_nodeinfo",
        "A node tells its votes.",
    ),
    (
        "nodeinfo message[{}]: votes: {}, expected: {} flags: {}",
        "votequorum.c: message_handler_req_exec_votequorum_nodeinfo",
        "What that node told: votes, what it expects in all, and flags.",
    ),
    ("flags: {}", "votequorum.c: decode_flags", "Those flags in words."),
    (
        "got reconfigure message from cluster node {} for {}",
        "votequorum.c: message_handler_req_exec_votequorum_reconfigure",
        "Somebody changed votes or expected votes at run time (pvecm expected).",
    ),
    (
        "wait_for_all_status reset by user on node {}.",
        "votequorum.c: message_handler_req_exec_votequorum_reconfigure",
        "Somebody ended wait_for_all by hand.",
    ),
    (
        "Sending nodelist callback. ring_id = {}",
        "votequorum.c: votequorum_exec_send_nodelist_notification",
        "Clients are told who is in the ring.",
    ),
    (
        "Sending quorum callback, quorate = {}",
        "votequorum.c: votequorum_exec_send_quorum_notification",
        "Clients are told whether there is quorum.",
    ),
    (
        "waiting for quorum device {} poll (but maximum for {} ms)",
        "votequorum.c: votequorum_sync_init",
        "The synchronisation waits for the quorum device's verdict on this ring.",
    ),
    ("lost contact with quorum device {}", "votequorum.c: qdevice_timer_fn", "Its votes do not count any more."),
    # cmap
    (
        "Received config version ({}) is different than my config version ({})! Exiting",
        _CMAP,
        "This node's corosync.conf is older than the others': the daemon ends rather than use it.",
    ),
    ("Single node sync -> no action", _CMAP, "Alone: no configuration to compare."),
    ("Not first sync -> no action", _CMAP, "Configurations are compared at the first ring only."),
    ("My config version is 0 -> no action", _CMAP, "No config_version is set: nothing to compare."),
    # watchdog and resources
    ("The Watchdog timeout is {} seconds", "wd.c: watchdog_timeout_apply", "Corosync's own watchdog, off by default."),
    ("The tickle timeout is {} ms", "wd.c: watchdog_timeout_apply", "How often it would be fed."),
    ("Watchdog not enabled by configuration", "wd.c: setup_watchdog", "Usual: Proxmox VE has a watchdog of its own."),
    ("resource {} missing a recovery key.", "wd.c: wd_resource_create", "Usual: nobody configures these resources."),
    ("no resources configured.", "wd.c: wd_scan_resources", "Usual: nothing is watched."),
)
