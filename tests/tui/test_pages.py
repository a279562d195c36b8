"""The files page and the node page, on a simulated cluster and in the dark."""

from __future__ import annotations

import pytest

from tests.tui.synthetic import A, C, Playable, Story, domino
from totemviz.pmxcfs.index import Entry, EntryType
from totemviz.sim import interventions as do
from totemviz.sim.scenario import Scenario
from totemviz.sim.units import SECOND, Duration
from totemviz.totem import wire
from totemviz.trace import events as ev
from totemviz.tui import pictures
from totemviz.tui.files import DIFFERS, ONLY_HERE, ONLY_THERE, SAME, FilesPanel, compared
from totemviz.tui.gauges import bar, chart, window, window_marks
from totemviz.tui.inspector import Inspector
from totemviz.tui.layers import layers
from totemviz.tui.moment import Moment
from totemviz.tui.nodedisk import waiting


@pytest.fixture(scope="module")
def stalled():
    return pictures.stalled_disk()


def text_of(panel, moment, width=118, height=24):
    return "\n".join("".join(text for text, _ in line) for line in panel.draw(moment, width, height).lines)


def file(inode: int, data: bytes) -> Entry:
    return Entry(inode, 0, inode, 1, 0, EntryType.FILE, "x", data)


def test_trees_are_compared_entry_by_entry():
    here = {"a": file(1, b"1"), "b": file(2, b"2"), "d": file(4, b"4")}
    there = {"a": file(1, b"1"), "b": file(2, b"3"), "c": file(3, b"3")}
    assert compared(here, there) == {"a": SAME, "b": DIFFERS, "c": ONLY_THERE, "d": ONLY_HERE}


def test_the_files_page_shows_what_the_node_has(stalled):
    moment = Moment(stalled, stalled.cursor_time_ns, chosen=A)
    panel = FilesPanel()
    text = text_of(panel, moment)
    assert "corosync.conf" in text
    assert "compared with" in text
    panel.picked = "corosync.conf"
    assert "cluster_name" in text_of(panel, moment, height=60)


def test_the_files_page_says_when_nothing_is_known():
    session = Playable(domino().timeline)
    session.cursor.move_to(50)
    assert "No tree of /etc/pve is known" in text_of(FilesPanel(), Moment(session, 0))


def test_the_node_page_tells_everything(stalled):
    text = text_of(Inspector(), Moment(stalled, stalled.cursor_time_ns, chosen=C))
    for words in (
        "token loss",
        "pve_dcdb_v1: A/1002 B/2002 C/3002",
        "A 1 + B 1 + C 1 = 3, needed 2 of 3",
        "disk queue",
    ):
        assert words in text
    assert "fsync of config.db-wal for 2.1 s" in text


@pytest.mark.parametrize("panel", [FilesPanel, Inspector])
@pytest.mark.parametrize("size", [(40, 4), (78, 8), (118, 12), (198, 30)])
def test_pages_stay_inside_their_size(stalled, panel, size):
    width, height = size
    lines = panel().draw(Moment(stalled, stalled.cursor_time_ns), width, height).lines
    assert len(lines) <= height
    assert all(sum(len(text) for text, _ in line) <= width for line in lines)


def test_gauges():
    assert "".join(text for text, _ in bar(0.5, 4)) == "██░░"
    assert "".join(text for text, _ in window({1, 2, 4}, 2, 4, 10)) == "██·▓"
    rows = ["".join(text for text, _ in line) for line in chart([1, 1000, 10**6, 2], 10**6, str, 40)]
    assert rows == ["1000000 ┤  █ ", "        ┤ ▅█ ", "      1 ┤▁██▂"]
    assert "".join(text for text, _ in window_marks({"▲": 2, "△": 1}, 2, 4, 10)) == "△▲"
    assert "".join(text for text, _ in window_marks({"▲": 30, "△": 1}, 30, 40, 20)) == "◂        ▲"


def test_a_write_is_read_down_to_the_file(stalled):
    found = [
        [layer.name for layer in layers(wire.decode(event.body.data))]
        for event in stalled.timeline
        if isinstance(event.body, ev.DatagramSent) and event.body.kind == "mcast"
    ]
    names = next(names for names in found if any("100.conf" in name for name in names))
    assert names[0] == "totempg packet"
    assert names[1].startswith("mcast to group")
    assert names[2] == "pmxcfs create"
    assert names[3].endswith("qemu-server/100.conf")
    assert all("unreadable" not in name for names in found for name in names)


def test_the_queue_of_a_disk_holds_what_was_asked_for_and_not_answered():
    story = Story(3)
    story.boot()
    start = len(story.timeline)
    for body in (
        ev.FsyncStarted("pmxcfs", "config.db-wal"),
        ev.FsyncStarted("corosync", "ev_tracking"),
        ev.FsyncFinished("pmxcfs", "config.db-wal", 5),
        ev.FsyncStarted("pmxcfs", "config.db"),
    ):
        story.add(C, body)
    events = list(story.timeline[start:])
    assert [event.body.file for event in waiting(events)] == ["ev_tracking", "config.db"]
    story.add(C, ev.ProcessKilled("corosync"))
    assert [event.body.file for event in waiting(list(story.timeline[start:]))] == ["config.db"]
    story.add(C, ev.NodeFenced())
    assert waiting(list(story.timeline[start:])) == []


def test_others_stand_in_the_same_queue():
    session = pictures.started(Scenario(seed=7, disks={"3": "usb-stick"}))
    for percent, words in ((90, "9 of others on average: backup 90 %"), (100, "128 of others (full): backup 100 %")):
        session.intervene(do.LoadDisk(node=3, kind="backup", percent=percent, duration=Duration(30 * SECOND)))
        text = text_of(Inspector(), Moment(session, session.cursor_time_ns, chosen=C), height=40)
        assert words in text
        assert "▒▒▒▒▒▒▒▒▒" in text


def test_every_timer_of_a_node_has_a_bar(stalled):
    text = text_of(Inspector(), Moment(stalled, stalled.cursor_time_ns, chosen=2), width=78, height=40)
    for name in ("token loss", "token warning", "token retransmit", "pause", "scheduler watch"):
        line = next(line for line in text.split("\n") if f" {name}" in line)
        assert "█" in line
        assert " of " in line
    still = text_of(Inspector(), Moment(stalled, stalled.cursor_time_ns, chosen=C), width=78, height=40)
    assert "ran out, unseen" in next(line for line in still.split("\n") if " pause" in line)
