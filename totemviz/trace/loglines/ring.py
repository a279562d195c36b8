"""Lines of the ring: totemsrp, totempg, the transports and libknet."""

from __future__ import annotations

_PARAMETERS = "totemsrp.c: totemsrp_initialize"
_GATHER = "totemsrp.c: memb_state_gather_enter"
_RECOVERY = "totemsrp.c: memb_state_recovery_enter"
_TIMEOUT = "totemsrp.c: timer_function_orf_token_timeout"
_TOKEN = "totemsrp.c: message_handler_orf_token"
_HEADER = "totemsrp.c: check_message_header_validity"

LINES: tuple[tuple[str, str, str], ...] = (
    # membership
    (
        "entering GATHER state from {}({}).",
        _GATHER,
        "The node has no ring any more, or doubts it, and asks everybody who is there. The number says why.",
    ),
    (
        "entering COMMIT state.",
        "totemsrp.c: memb_state_commit_enter",
        "All candidates agree on who belongs to the next ring; a commit token goes round to fix it.",
    ),
    (
        "entering RECOVERY state.",
        _RECOVERY,
        "The commit token has come round twice: members of the old ring now resend what some of them miss.",
    ),
    (
        "entering OPERATIONAL state.",
        "totemsrp.c: memb_state_operational_enter",
        "The new ring works. From here on messages are ordered in it.",
    ),
    (
        "A new membership ({}) was formed. Members{}",
        "totemsrp.c: memb_state_operational_enter",
        "A ring was installed; the number is representative.sequence in hexadecimal. Behind it: who came, who went.",
    ),
    (
        "Failed to receive the leave message.{}",
        "totemsrp.c: memb_state_operational_enter",
        "These nodes went without saying goodbye: a crash, a cut link, or a host too slow to answer.",
    ),
    (
        "A processor failed, forming new configuration: token timed out ({}ms), waiting {}ms for consensus.",
        _TIMEOUT,
        "No token came for the whole token timeout. That does not say which node failed; the consensus timeout runs.",
    ),
    ("The token was lost in the OPERATIONAL state.", _TIMEOUT, "The token timer ran out in a working ring."),
    ("The token was lost in the COMMIT state.", _TIMEOUT, "The commit token did not come back: start over."),
    (
        "The token was lost in the RECOVERY state.",
        _TIMEOUT,
        "The new ring lost its token: start over.",
    ),
    (
        "The consensus timeout expired ({}ms).",
        _TIMEOUT,
        "All agreed, but no ring came of it within the timeout: gather again.",
    ),
    ("sending join/leave message", "totemsrp.c: memb_leave_message_send", "The daemon says goodbye on its way out."),
    ("Received LEAVE message from {}", "totemsrp.c: memb_join_process", "That node is shutting down cleanly."),
    (
        "Creating commit token because I am the rep.",
        "totemsrp.c: memb_state_commit_token_create",
        "This node has the lowest id of the candidates, so it starts the commit token.",
    ),
    ("got commit token", "totemsrp.c: message_handler_memb_commit_token", "The commit token arrived here."),
    (
        "Saving state aru {} high seq received {}",
        "totemsrp.c: old_ring_state_save",
        "Up to where the old ring's messages are here; recovery will need it.",
    ),
    (
        "Restoring instance->my_aru {} my high seq received {}",
        "totemsrp.c: old_ring_state_restore",
        "The recovery failed; the marks of the ring before it count again.",
    ),
    ("Resetting old ring state", "totemsrp.c: old_ring_state_reset", "Recovery is complete; the old ring is history."),
    (
        "Created or loaded sequence id {} for this ring.",
        "totemsrp.c: main_iface_change_fn",
        "The ring sequence number this node had stored, so that ring ids never repeat.",
    ),
    (
        "Process pause detected for {} ms, flushing membership messages.",
        "totemsrp.c: pause_flush",
        "The daemon did not run for that long. Joins that piled up meanwhile are stale and thrown away.",
    ),
    # recovery
    ("TRANS [{}] member {}:", _RECOVERY, "A member that comes along from this node's old ring."),
    ("position [{}] member {}:", _RECOVERY, "A member of the new ring, in the order of the token's way."),
    ("previous ringid ({})", _RECOVERY, "The ring that member was in before."),
    (
        "aru {} high delivered {} received flag {}",
        _RECOVERY,
        "What that member has of its old ring, and whether it has all of it.",
    ),
    ("Did not need to originate any messages in recovery.", _RECOVERY, "Nobody of the old ring misses anything."),
    (
        "copying all old ring messages from {}-{}.",
        _RECOVERY,
        "Somebody of the old ring may miss these messages; this node offers its copies.",
    ),
    ("Originated {} messages in RECOVERY.", _RECOVERY, "So many old messages are resent in the new ring."),
    (
        "token retrans flag is {} my set retrans flag{} retrans queue empty {} count {}, aru {}",
        _TOKEN,
        "Bookkeeping of the recovery, once per token: is anybody still resending?",
    ),
    (
        "install seq {} aru {} high seq received {}",
        _TOKEN,
        "Up to where the recovery has got: it ends when everybody has everything up to install seq.",
    ),
    (
        "retrans flag count {} token aru {} install seq {} aru {} {}",
        _TOKEN,
        "Two quiet rotations: the recovery is over and the ring becomes operational.",
    ),
    (
        "recovery to regular {}-{}",
        "totemsrp.c: deliver_messages_from_recovery_to_regular",
        "Old messages that were resent are put back into the old ring's order.",
    ),
    (
        "comparing if ring id is for this processors old ring seqno {}",
        "totemsrp.c: deliver_messages_from_recovery_to_regular",
        "Does a resent message belong to the ring this node was in?",
    ),
    (
        "-not adding msg with seq no {}",
        "totemsrp.c: deliver_messages_from_recovery_to_regular",
        "A resent message that this node already has, or that is of another ring.",
    ),
    # the token
    (
        "Sending initial ORF token",
        "totemsrp.c: message_handler_memb_commit_token",
        "The representative starts the new ring's first token.",
    ),
    (
        "Token has not been received in {} ms",
        "totemsrp.c: timer_function_orf_token_warning",
        "A warning before the token timeout: the token is late. Somebody is slow or a link loses packets.",
    ),
    (
        "Retransmit List: {}",
        "totemsrp.c: orf_token_rtr",
        "Messages (hexadecimal) that somebody asks for again: packets get lost, or a node is too slow to receive.",
    ),
    ("Retransmit List {}", "totemsrp.c: orf_token_rtr", "How many messages the token asks for again."),
    (
        "FAILED TO RECEIVE",
        _TOKEN,
        "This node did not get what it asked for over very many rotations: it leaves the ring and starts over.",
    ),
    (
        "sq not in range",
        "totemsrp.c: orf_token_remcast",
        "Somebody asks for a message this node has freed.",
    ),
    (
        "HeartBeat Timer expired Invoking token loss mechanism in state {}",
        "totemsrp.c: timer_function_heartbeat_timeout",
        "With heartbeat_failures_allowed set, a late token counts as lost before the token timeout.",
    ),
    (
        "waiting_trans_ack changed to {}",
        "totempg.c: totempg_waiting_trans_ack_cb",
        "1: messages of clients wait until all services know the new ring. 0: they may go on.",
    ),
    # datagrams that are thrown away
    ("Message received from {} is too short...  Ignoring {}.", _HEADER, "A datagram shorter than any Totem message."),
    (
        "Message received from {} has bad magic number (probably sent by {}).. Ignoring",
        _HEADER,
        "A datagram that is not corosync 3's: an old corosync, another program, or another encryption.",
    ),
    (
        "Message received from {} has unsupported version {}... Ignoring",
        _HEADER,
        "A datagram of another protocol version: mixed versions in one cluster.",
    ),
    (
        "Message received from {} has wrong type...  ignoring {}.",
        "totemsrp.c: main_deliver_fn",
        "A datagram with a type number that does not exist.",
    ),
    (
        "Received {} message is too short...  ignoring.",
        "totemsrp.c: check_mcast_sanity and one for each other type",
        "A datagram that ends before its fields do.",
    ),
    (
        "Received {} message is too long...  ignoring.",
        "totemsrp.c: check_orf_token_sanity",
        "A token bigger than a token may be.",
    ),
    (
        "Received {} message rtr_entries is corrupted...  ignoring.",
        "totemsrp.c: check_orf_token_sanity",
        "A token whose retransmit list has an impossible length.",
    ),
    (
        "Received {} message list_entries exceeds the maximum allowed value...  ignoring.",
        "totemsrp.c: check_memb_join_sanity",
        "A join with more nodes than a ring can have.",
    ),
    (
        "Message (totempg_mcast) received from node {} is too short...  Ignoring.",
        "totempg.c: totempg_deliver_fn",
        "A packet in the total order that is not even a packet header.",
    ),
    (
        "Message (totempg_mcast datasize) received from node {} is too short...  Ignoring.",
        "totempg.c: totempg_deliver_fn",
        "A packet whose table of message lengths is cut off.",
    ),
    (
        "Message (totempg_mcast) received from node {} doesn't have expected length of {} (has {}) bytes...  Ignoring.",
        "totempg.c: totempg_deliver_fn",
        "A packet whose messages do not add up to its length.",
    ),
    # parameters
    (
        "Token Timeout ({} ms) retransmit timeout ({} ms)",
        _PARAMETERS,
        "The effective token timeout, and how often the token is sent again.",
    ),
    (
        "Token warning every {} ms ({}% of Token Timeout)",
        _PARAMETERS,
        "From this age of the token on there is a warning in the log.",
    ),
    (
        "token hold ({} ms) retransmits before loss ({} retrans)",
        _PARAMETERS,
        "How long an idle ring rests, and how often a token is sent again before it counts as lost.",
    ),
    (
        "join ({} ms) send_join ({} ms) consensus ({} ms) merge ({} ms)",
        _PARAMETERS,
        "Membership timeouts: join repeats, consensus is the longest wait for the silent, merge finds other rings.",
    ),
    ("downcheck ({} ms) fail to recv const ({} msgs)", _PARAMETERS, "Limits of fault detection."),
    (
        "seqno unchanged const ({} rotations) Maximum network MTU {}",
        _PARAMETERS,
        "After so many rotations without a message the ring rests; and the largest packet.",
    ),
    (
        "window size per rotation ({} messages) maximum messages per rotation ({} messages)",
        _PARAMETERS,
        "Flow control: what all nodes together, and one node alone, may send per rotation.",
    ),
    ("missed count const ({} messages)", _PARAMETERS, "At so many visits a hole is seen before it is asked for."),
    ("send threads ({} threads)", _PARAMETERS, "Unused since corosync 2; always 0."),
    ("heartbeat_failures_allowed ({})", _PARAMETERS, "0: no heartbeat, only the token timeout counts."),
    ("max_network_delay ({} ms)", _PARAMETERS, "Part of the heartbeat's timeout, if there is a heartbeat."),
    (
        "HeartBeat is Disabled. To enable set heartbeat_failures_allowed > 0",
        _PARAMETERS,
        "The usual case: only the token timeout detects failures.",
    ),
    ("total heartbeat_timeout ({} ms)", _PARAMETERS, "After this silence the heartbeat calls the token lost."),
    (
        "total heartbeat_timeout ({} ms) is not less than token timeout ({} ms)",
        _PARAMETERS,
        "The heartbeat would be slower than the token timeout, so it is of no use.",
    ),
    (
        "heartbeat_timeout = heartbeat_failures_allowed * token_retransmit_timeout + max_network_delay",
        _PARAMETERS,
        "How the heartbeat's timeout is made.",
    ),
    (
        "heartbeat timeout should be less than the token timeout. Heartbeat is disabled!!",
        _PARAMETERS,
        "The configured heartbeat is switched off.",
    ),
    # transports
    (
        "Initializing transport ({}).",
        "totemnet.c: totemnet_instance_initialize",
        "Which transport carries the ring: Kronosnet, or UDP without encryption and links.",
    ),
    ("totemknet initialized", "totemknet.c: totemknet_initialize", "libknet is ready."),
    (
        "The network interface [{}] is now up.",
        "totemudpu.c: timer_function_netif_check_timeout",
        "The address of the ring was found on an interface that is up.",
    ),
    ("Configuring link {}", "totemconfig.c: configure_totem_links", "One link (ring0_addr is link 0) is set up."),
    (
        "Configured link number {}: local addr: {}, port={}",
        "totemknet.c: totemknet_iface_set",
        "This node's address and UDP port on that link.",
    ),
    (
        "adding dynamic member {} for ring {}",
        "totemconfig.c: compute_and_set_totempg_interfaces",
        "An address from the node list is added to a link.",
    ),
    ("adding new UDPU member {}", "totemudpu.c: totemudpu_member_add", "This address gets a copy of every multicast."),
    # libknet, in recordings
    (
        "link: host: {} link: {} is down",
        "threads_heartbeat.c: _link_down",
        "No pong came back over this link for the pong timeout.",
    ),
    (
        "host: host: {} has no active links",
        "host.c: _host_dstcache_update_sync",
        "That node cannot be reached over any link: what is sent to it is thrown away.",
    ),
    (
        "host: host: {} (passive) best link: {} (pri: {})",
        "host.c: _host_dstcache_update_sync",
        "Data for that node go over this link from now on.",
    ),
    (
        "rx: host: {} link: {} is up",
        "threads_rx.c: _parse_recv_from_links",
        "Pongs come back again over this link.",
    ),
    (
        "pmtud: Global data MTU changed to: {}",
        "threads_pmtud.c: _handle_pmtud_link_thread",
        "The largest datagram that passes all links was found out.",
    ),
)
