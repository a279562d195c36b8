"""Lines of votequorum that only some options, a quorum device or a person at run time bring about."""

from __future__ import annotations

_READ = "votequorum.c: votequorum_readconfig"
_TRACKING = "votequorum.c: load_ev_tracking_barrier"
_REGISTER = "votequorum.c: message_handler_req_exec_votequorum_qdevice_reg"
_RENAME = "votequorum.c: message_handler_req_exec_votequorum_qdevice_reconfigure"
_OPTION = "Options of corosync.conf that exclude each other; the line says what corosync does about it."

LINES: tuple[tuple[str, str, str], ...] = (
    # expected votes
    (
        "Sending expected votes callback",
        "votequorum.c: votequorum_exec_send_expectedvotes_notification",
        "Clients are told that the number of expected votes has changed.",
    ),
    (
        "Unable to update ev_tracking_barrier on disk data!!!",
        "votequorum.c: update_ev_tracking_barrier",
        "The file that keeps the highest expected votes cannot be written.",
    ),
    ("Unable to write to {}", _TRACKING, "The file that keeps the highest expected votes cannot be written."),
    ("Unable to create {} file", _TRACKING, "The file that keeps the highest expected votes cannot be made."),
    (
        "Last Man Standing feature is supported only when allcluster nodes votes are set to 1. Disabling LMS.",
        "votequorum.c: message_handler_req_exec_votequorum_nodeinfo",
        "A node with more than one vote joined: last_man_standing is switched off.",
    ),
    # the quorum device
    (
        "node is quorate as part of master_wins partition",
        "votequorum.c: are_we_quorate",
        "The quorum device says this half goes on, whatever the votes add up to.",
    ),
    ("Received qdevice op {} req from node {} [{}]", _REGISTER, "A node's quorum device registers or goes."),
    ("Remote qdevice name recorded", _REGISTER, "The first device names the one that all nodes must use."),
    (
        "A new qdevice with different name (new: {} old: {}) is trying to register!",
        _REGISTER,
        "Two different quorum devices in one cluster: the new one is refused.",
    ),
    ("Received qdevice name change req from node {} [from: {} to: {}]", _RENAME, "A quorum device changes its name."),
    ("Allowing qdevice rename", _RENAME, "The new name is taken over."),
    (
        "Received poll ring id ({}) != last sync ring id ({}). Ignoring poll call.",
        "votequorum.c: message_handler_req_lib_votequorum_qdevice_poll",
        "The device's verdict is about a ring that is no more: it does not count.",
    ),
    (
        "Registration of quorum device is disabled by incorrect corosync.conf. See logs for more information",
        "votequorum.c: message_handler_req_lib_votequorum_qdevice_register",
        "The configuration excludes a quorum device.",
    ),
    ("disabling quorum device operations", _READ, "The configuration excludes a quorum device."),
    ("quorum device is registered, disabling two_node", _READ, "With a device two nodes are counted as usual."),
    ("quorum device is not registered, allowing two_node", _READ, "Without a device one of two nodes is enough."),
    # options
    ("configuration error: {}", _READ, _OPTION),
    ("two_node and auto_tie_breaker are both specified but are not compatible.", _READ, _OPTION),
    ("two_node has been disabled, please fix your corosync.conf", _READ, _OPTION),
    ("auto_tie_breaker_node: is meaningless if auto_tie_breaker is set to 0", _READ, _OPTION),
    ("auto_tie_breaker is set and the cluster has an odd number of nodes.", _READ, _OPTION),
    ("wait_for_all needs to be set for this configuration but it is missing", _READ, _OPTION),
    ("Therefore auto_tie_breaker has been disabled. Please fix your corosync.conf", _READ, _OPTION),
    ("will continue with current runtime data", _READ, "The reload was wrong; what was in force stays in force."),
    (
        "No nodelist defined or our node is not in the nodelist",
        "votequorum.c: votequorum_read_nodelist_configuration",
        "Without a node list there is nothing to count.",
    ),
)
