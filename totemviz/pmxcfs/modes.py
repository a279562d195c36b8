"""The modes of a state machine, and what each message of an exchange means in them, as data (sheet §5.1, §5.5)."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from totemviz.pmxcfs.messages import MessageType


class Mode(IntEnum):
    """The modes of the state machine; from 128 on they are error modes."""

    START = 0
    START_SYNC = 1
    SYNCED = 2
    UPDATE = 3
    LEAVE = 253
    VERSION_ERROR = 254
    ERROR = 255

    @property
    def is_error(self) -> bool:
        """Whether the machine ignores the group and must leave it."""
        return self >= 128


MODE_TEXT = {
    Mode.START: "start cluster connection",
    Mode.START_SYNC: "starting data syncronisation",  # sic
    Mode.SYNCED: "all data is up to date",
    Mode.UPDATE: "waiting for updates from leader",
    Mode.LEAVE: "leaving CPG group",
    Mode.VERSION_ERROR: "detected newer protocol - please update this node",
    Mode.ERROR: "serious internal error - stop cluster connection",
}


class Step(StrEnum):
    """What the machine does with a state message of the current epoch."""

    ANSWER = "adopt the epoch, send the own state"
    COLLECT = "keep the state; with the last one, choose the leader"
    TAKE_UPDATE = "keep the leader's entry for the commit"
    COMMIT = "take over the leader's tree"
    OTHERS_UPDATED = "everybody is up to date: deliver what waited"
    CHECKSUM = "take the checksum; the requester sends it"
    COMPARE = "compare checksums"
    UNKNOWN = "leave the group"


STATE_TABLE = {
    (MessageType.SYNC_START, Mode.START_SYNC): Step.ANSWER,
    (MessageType.STATE, Mode.START_SYNC): Step.COLLECT,
    (MessageType.UPDATE, Mode.START_SYNC): Step.UNKNOWN,
    (MessageType.UPDATE_COMPLETE, Mode.START_SYNC): Step.UNKNOWN,
    (MessageType.SYNC_START, Mode.UPDATE): Step.UNKNOWN,
    (MessageType.STATE, Mode.UPDATE): Step.UNKNOWN,
    (MessageType.UPDATE, Mode.UPDATE): Step.TAKE_UPDATE,
    (MessageType.UPDATE_COMPLETE, Mode.UPDATE): Step.COMMIT,
    (MessageType.UPDATE_COMPLETE, Mode.SYNCED): Step.OTHERS_UPDATED,
    (MessageType.VERIFY_REQUEST, Mode.SYNCED): Step.CHECKSUM,
    (MessageType.VERIFY, Mode.SYNCED): Step.COMPARE,
}
"""What a state message means in each mode. No entry: it is ignored."""
