"""The files page and the node page, on a simulated cluster and in the dark."""

from __future__ import annotations

import pytest

from tests.tui.synthetic import A, C, Playable, domino
from totemviz.pmxcfs.index import Entry, EntryType
from totemviz.totem import wire
from totemviz.trace import events as ev
from totemviz.tui import pictures
from totemviz.tui.files import DIFFERS, ONLY_HERE, ONLY_THERE, SAME, FilesPanel, compared
from totemviz.tui.gauges import bar, plot, window
from totemviz.tui.inspector import Inspector
from totemviz.tui.layers import layers
from totemviz.tui.moment import Moment


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
    heights = "".join(text for text, _ in plot([1, 1000, 10**6], 10**6))
    assert heights[0] == "▁"
    assert heights[-1] == "█"


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
