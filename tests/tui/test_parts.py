"""The parts that need no screen: drawings, lists, ticks, playing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.tui.synthetic import MS, C, Playable, Session, Story, domino, recording
from totemviz.pmxcfs.dfsm import Mode
from totemviz.totem import effects as totem
from totemviz.totem import wire
from totemviz.totem.effects import Log, RingId
from totemviz.trace import events as ev
from totemviz.trace.causes import Causes
from totemviz.trace.compare import Row
from totemviz.trace.cursor import Cursor
from totemviz.trace.why import story as causes
from totemviz.tui.branching import table
from totemviz.tui.bytes import dissect
from totemviz.tui.eventlist import EventList, matcher
from totemviz.tui.index import EventIndex
from totemviz.tui.lit import Lit
from totemviz.tui.marks import with_letters
from totemviz.tui.moment import Moment
from totemviz.tui.nodes import NodesPanel, choose
from totemviz.tui.paint import CHANGED, LINK_BASE, clip, fit, line_width, wrap
from totemviz.tui.ring import RingPanel
from totemviz.tui.scrubber import Ticks, nice_end
from totemviz.tui.stages import StagesPanel
from totemviz.tui.strip import RingStrip
from totemviz.tui.writes import WritesPanel

TEXTS = st.text("abc ⏳◆é", max_size=40)


@given(TEXTS, st.integers(0, 30), st.sampled_from("<>^"))
def test_fit_is_exact(text, width, align):
    assert cell_len(fit(text, width, align)) == width


@given(st.lists(st.tuples(TEXTS, st.just("plain"))), st.integers(0, 60))
def test_clip_never_exceeds(line, width):
    assert line_width(clip(line, width)) <= width


@given(TEXTS, st.integers(3, 30), st.integers(1, 4))
def test_wrap_never_exceeds(text, width, rows):
    lines = wrap(text, width, rows)
    assert len(lines) <= rows
    assert all(
        cell_len(line) <= max(width, max((cell_len(word) for word in text.split(" ")), default=0)) for line in lines
    )


def moment_at(story: Story, position: int) -> Moment:
    session = Playable(story.timeline)
    session.cursor.move_to(position)
    return Moment(session, session.cursor.view.time_ns)


PANELS = (RingPanel, StagesPanel, WritesPanel, NodesPanel, RingStrip)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.__name__)
@pytest.mark.parametrize("nodes", [1, 2, 3, 4, 5, 8, 16])
def test_every_panel_stays_inside_its_size(panel, nodes):
    story = Story(nodes)
    story.boot()
    story.rotate(1)
    story.visit(1, send=False)
    cut = ev.LinkChanged(1, nodes, True, 0.0, 0)
    story.add(0, cut)
    for width, height in ((20, 1), (40, 3), (40, 12), (76, 7), (118, 8), (150, 20)):
        if panel is RingPanel and height < 8:
            continue
        widget = panel()
        drawing = widget.draw(moment_at(story, len(story.timeline) - 1), width, height)
        assert len(drawing.lines) <= height
        assert all(line_width(line) <= max(width, 58 if panel is NodesPanel else 0) for line in drawing.lines)


def test_panels_draw_every_position_of_both_stories():
    for story in (domino(), recording()):
        session = Session(story.timeline)
        widgets = [panel() for panel in PANELS]
        for position in range(-1, len(story.timeline)):
            session.cursor.move_to(position)
            moment = Moment(session, session.cursor.view.time_ns)
            for widget in widgets:
                widget.lit.begin(position)
                widget.draw(moment, 76, 12)


def text_of(widget, moment, width=118, height=14):
    return "\n".join("".join(text for text, _ in line) for line in widget.draw(moment, width, height).lines)


def test_the_token_is_where_it_is():
    story = domino()
    for mark, words in {
        "held": "by A, idle",
        "flying": "A → B",
        "waiting": "token waits",
    }.items():
        assert words in text_of(RingPanel(), moment_at(story, story.marks[mark]), 40, 12)
    strip = text_of(RingStrip(), moment_at(story, story.marks["flying"]), 80, 1)
    assert "A○ ━◆▶ B○" in strip


def divided(node_count: int = 5, here: tuple[int, ...] = (1, 2, 3), there: tuple[int, ...] = (4, 5)) -> Story:
    """Two partitions, each with a ring of its own; the second has no quorum."""
    story = Story(node_count)
    story.boot()
    for one in here:
        for other in there:
            story.add(0, ev.LinkChanged(one, other, True, 0.0, 0))
            story.add(0, ev.LinkChanged(other, one, True, 0.0, 0))
    story.form(here, RingId(here[0], 13), left=there)
    story.form(there, RingId(there[0], 13), left=here)
    return story


@pytest.mark.parametrize("size", [(40, 12), (48, 18)])
def test_partitions_are_drawn_apart_with_their_quorum(size):
    story = divided()
    moment = moment_at(story, len(story.timeline) - 1)
    width, height = size
    assert RingPanel().title(moment) == "ring 1.d and ring 4.d"
    text = text_of(RingPanel(), moment, width, height)
    assert "cut: A B C ╳ D E" in text
    first = text.splitlines()[0]
    assert first[: width // 2].strip() == "quorum"
    assert first[width // 2 :].strip() == "no quorum"
    for letter, left in zip("ABCDE", (True, True, True, False, False), strict=True):
        columns = [line.index(letter) for line in text.splitlines()[1:-2] if letter in line]
        assert [column < width // 2 for column in columns] == [left]
    assert all(line[width // 2] == "╳" for line in text.splitlines()[1 : height - 2 : 2])


def test_the_wall_between_partitions_is_made_of_links():
    story = divided(3, (1, 2), (3,))
    drawing = RingPanel().draw(moment_at(story, len(story.timeline) - 1), 40, 12)
    links = {divmod(hit.value, LINK_BASE) for hit in drawing.hits if hit.kind == "link"}
    wall = {(1, 3), (3, 1), (2, 3), (3, 2)}
    assert links - wall == {(1, 2), (2, 1), (0, 0)}  # the ways of the token, and the line about all links
    assert wall <= links


def test_the_strip_tells_partitions_and_links():
    story = divided()
    strip = text_of(RingStrip(), moment_at(story, len(story.timeline) - 1), 80, 1)
    assert "A○ ──→ B○ ──→ C○  quorum  ╳  ring 4.d  D○ ──→ E○  no quorum" in strip
    story = Story(3)
    story.boot()
    story.add(0, ev.LinkChanged(2, 3, False, 25.0, 0))
    assert "loss 25 % B→C" in text_of(RingStrip(), moment_at(story, len(story.timeline) - 1), 80, 1)


def lossy() -> Story:
    """Four nodes: one link cut one way, one that loses both ways, one that loses one way."""
    story = Story(4)
    story.boot()
    for source, target, cut, loss in ((1, 3, True, 0.0), (2, 3, False, 25.0), (3, 2, False, 25.0), (4, 1, False, 5.0)):
        story.add(0, ev.LinkChanged(source, target, cut, loss, 0))
    return story


@pytest.mark.parametrize("size", [(40, 12), (48, 18)])
def test_single_links_are_named_and_marked(size):
    story = lossy()
    text = text_of(RingPanel(), moment_at(story, len(story.timeline) - 1), *size)
    assert "cut: A→╳C  loss 25 % B–C  loss 5 % D→A" in text
    picture = "\n".join(text.splitlines()[:-1])
    assert picture.count("╳") == 1
    assert picture.count("25%") == 1
    assert picture.count(" 5%") == 1
    for source, target in ((3, 1), *((a, b) for a in range(1, 5) for b in range(1, 5) if a != b)):
        story.add(0, ev.LinkChanged(source, target, False, 10.0, 0))
    everywhere = text_of(RingPanel(), moment_at(story, len(story.timeline) - 1), *size).splitlines()[-1]
    assert everywhere.strip() == "loss 10 %"


def several_writes() -> Story:
    """Three writes under way, and a fourth that is done."""
    story = Story(3)
    story.boot()
    for number, name in enumerate(("100", "101", "102", "103"), start=1):
        story.write_queued(1 + number % 3, number, f"qemu-server/{name}.conf")
    story.add(2, ev.WriteFinished(4, 0, 2 * MS))
    return story


@pytest.mark.parametrize(("width", "height", "shown"), [(76, 3, 2), (74, 8, 4), (146, 8, 4)])
def test_writes_under_way_are_shown_before_those_that_are_done(width, height, shown):
    story = several_writes()
    moment = moment_at(story, len(story.timeline) - 1)
    panel = WritesPanel()
    assert panel.title(moment) == "writes · 4 · 3 under way"
    rows = text_of(panel, moment, width, height).splitlines()[1:]
    assert [row.split()[0] for row in rows] == (["w3", "w2"] if shown == 2 else ["w4", "w3", "w2", "w1"])


def test_one_line_of_writes_says_how_many_more_are_under_way():
    story = several_writes()
    line = text_of(WritesPanel(), moment_at(story, len(story.timeline) - 1), 80, 1)
    assert line.startswith(" w3 ")
    assert line.endswith(" +2 ")
    assert "applied A· B· C·" in line


@pytest.mark.parametrize(("width", "height"), [(76, 7), (146, 8), (50, 8)])
def test_stage_three_tells_which_writes_go_out(width, height):
    story = Story(3)
    story.boot()
    for number, name in ((1, "100"), (2, "101")):
        story.write_queued(1, number, f"qemu-server/{name}.conf")
    story.receive(1)
    story.add(1, totem.RetransmitChecked((), (), (), 17))
    for seq in (1, 2):
        story.add(1, totem.MessageOrdered(seq, (seq,)))
    text = text_of(StagesPanel(), moment_at(story, len(story.timeline) - 1), width, height)
    assert "1 message" in text
    assert "2 message" in text


def test_the_first_token_has_no_aru_yet():
    story = Story()
    story.boot()
    story.aru = 0xFFFFFFFF
    story.receive(1)
    moment = moment_at(story, len(story.timeline) - 1)
    assert "aru       none" in text_of(StagesPanel(), moment, 76, 8)


def test_a_recording_says_what_it_does_not_know():
    story = recording()
    moment = moment_at(story, len(story.timeline) - 1)
    assert "?" in text_of(NodesPanel(), moment)
    assert "does not show" in text_of(WritesPanel(), moment)


def test_nodes_table_keeps_the_state_and_the_timer_however_narrow():
    heads = [column.head for column in choose(50)]
    assert heads == ["", "state", "aru/seq", "token timer"]
    assert [column.head for column in choose(200)][-1] == "/etc/pve"


def test_lit_for_one_position_only():
    lit = Lit()
    lit.begin(1)
    assert lit.arrow("aru", "40") == [("40", "plain")]
    lit.begin(2)
    assert lit.arrow("aru", "38") == [("40 → 38", CHANGED)]
    lit.begin(2)  # a redraw of the same position
    assert lit.arrow("aru", "38") == [("40 → 38", CHANGED)]
    lit.begin(3)
    assert lit.arrow("aru", "38") == [("38", "plain")]
    lit.begin(9, quiet=True)
    assert lit.arrow("aru", "99") == [("99", "plain")]


def test_index_grows_and_starts_over_when_the_past_changes():
    story = domino()
    index = EventIndex(lambda event: isinstance(event.body, Log))
    while not index.sync(story.timeline, budget=50):
        pass
    expected = [event.id for event in story.timeline if isinstance(event.body, Log)]
    assert [index.event_id(row) for row in range(len(index))] == expected
    assert index.row_of(expected[1]) == 1
    assert index.row_of(expected[1] + 1) == 1
    assert index.row_of(0) == -1
    other = Story()
    assert index.sync(other.timeline)
    assert len(index) == 0


def test_matcher():
    story = domino()
    cursor = Cursor(story.timeline)
    cursor.move_to(len(story.timeline) - 1)
    keep = matcher("C fsync", cursor.view)
    found = [event for event in story.timeline if keep(event)]
    assert found
    assert {event.node for event in found} == {C}
    assert matcher("  ", cursor.view) is None
    assert EventList().nothing()


def test_ticks_and_the_round_end():
    story = domino()
    ticks = Ticks()
    ticks.sync(story.timeline)
    interventions = sum(isinstance(event.body, ev.Intervened) for event in story.timeline)
    assert len(ticks.times["▲"]) == interventions
    assert ticks.between(0, 10**12) == "▲"
    ticks.sync(story.timeline)
    assert len(ticks.times["▲"]) == interventions
    assert [nice_end(x) for x in (1, 10**9, 10**9 + 1, 3 * 10**9, 60 * 10**9)] == [
        10**8,
        10**9,
        2 * 10**9,
        5 * 10**9,
        100 * 10**9,
    ]


def test_the_story_of_a_cause_folds_token_hops():
    story = domino()
    told = causes(Causes(story.timeline), story.marks["held"])
    assert any(link.folded for link in told.links)
    assert told.first is story.timeline[0]


@pytest.mark.parametrize(
    "message",
    [
        wire.Token(1, 2, 41, 1236, 38, 2, RingId(1, 9), 0, 3, 0, ((RingId(1, 9), 39),)),
        wire.Join(1, 0, 1, 9, (1, 2, 3), (3,)),
        wire.MergeDetect(1, 0, 1, RingId(1, 9)),
        wire.HoldCancel(2, 0, RingId(1, 9)),
        wire.CommitToken(1, 0, 3, RingId(1, 13), 1, (1, 2), (wire.EMPTY_ENTRY, wire.EMPTY_ENTRY)),
        wire.Mcast(1, 0, 1, 42, 42, RingId(1, 9), b""),
    ],
    ids=lambda message: type(message).__name__,
)
@pytest.mark.parametrize("little", [True, False])
def test_dissection_covers_every_byte_and_agrees_with_the_codec(message, little):
    message.little = little
    data = message.encode()
    fields = list(dissect(data))
    assert b"".join(raw for _, raw, _ in fields) == data
    values = {field.name: value for field, _, value in fields}
    assert values["nodeid"] == message.nodeid
    if isinstance(message, wire.Token):
        assert (values["seq"], values["token_seq"], values["rtr[0].seq"]) == (41, 1236, 39)


def test_a_table_of_two_puts_what_is_long_below_and_cuts_nothing():
    value = "operational, ring 1.d of A, B and C, quorum"
    lines = table((Row("A", value, value), Row("events", "1", "2")), "this one", "other", 60)
    assert all(len(line) <= 60 for line in lines)
    assert "…" not in "".join(lines)
    assert [line[0] for line in lines].count("≠") == 1
    assert " ".join("".join(line[9:34] for line in lines[1:-1]).split()) == value


def test_every_word_of_pmxcfs_has_room_in_the_nodes_table():
    modes = [mode.name.lower().replace("_", " ") for mode in Mode if not mode.is_error]
    for width in (118, 198):
        column = next(column for column in choose(width) if column.head == "pmxcfs")
        assert max(map(len, modes)) < column.width


def test_texts_of_interventions_speak_of_letters():
    nodes = moment_at(domino(), 50).nodes
    assert with_letters("cut node 1 off; node 10 stays", nodes) == "cut A off; node 10 stays"
