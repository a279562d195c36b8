"""Every kind of event has its sentence, and the headline tells the trouble first."""

from __future__ import annotations

import msgspec
import pytest

from tests.tui.synthetic import A, B, C, Story, domino, recording
from totemviz.totem import effects as totem
from totemviz.totem.effects import RingId
from totemviz.trace import events as ev
from totemviz.trace.cursor import Cursor
from totemviz.trace.events import BODY_BY_KIND, Event
from totemviz.trace.headline import headline
from totemviz.trace.sentences import SENTENCES, sentence
from totemviz.trace.view import ClusterView
from totemviz.trace.words import names, numbers, span

MS = 1_000_000


def sample(kind: type) -> object:
    """An instance with small plain values in every field."""
    values: dict[str, object] = {}
    for field in msgspec.structs.fields(kind):
        text = str(field.type)
        if "RingId" in text:
            values[field.name] = totem.RingId(1, 9)
        elif "Level" in text:
            values[field.name] = totem.Level.NOTICE
        elif "dict" in text:
            values[field.name] = {}
        elif "tuple" in text:
            values[field.name] = ()
        elif field.type is bool:
            values[field.name] = False
        elif field.type is str:
            values[field.name] = "word"
        elif field.type is bytes:
            values[field.name] = b""
        elif field.type is float:
            values[field.name] = 1.0
        else:
            values[field.name] = 1
    return kind(**values)


@pytest.mark.parametrize("kind", sorted(BODY_BY_KIND))
def test_every_kind_has_a_sentence(kind):
    view = Cursor(domino().timeline)
    view.move_to(50)
    body = sample(BODY_BY_KIND[kind])
    assert type(body) in SENTENCES
    text = sentence(Event(1, 0, B, 0, body), view.view)
    assert text
    assert not text.endswith(".")
    assert "\n" not in text
    assert "Struct" not in text and "=" not in text
    assert sentence(Event(1, 0, B, 0, body, inferred=True), view.view) == f"{text} (inferred)"


def at(mark: str) -> tuple[ClusterView, Story]:
    story = domino()
    cursor = Cursor(story.timeline)
    cursor.move_to(story.marks[mark])
    return cursor.view, story


@pytest.mark.parametrize(
    ("mark", "text"),
    [
        ("held", "A holds the token: the ring is idle (0 µs of 685 ms)."),
        ("flying", "The token is on its way from A to B. Nobody can tell yet whether 1 reached everybody."),
        ("late", "C is waiting for its disk (fsync 3.48 s so far). The token waits in its socket: nobody can send."),
        (
            "gather",
            "C is waiting for its disk (fsync 3.58 s so far). A and B give up on the token it keeps: who is there?",
        ),
        ("end", "The token is on its way from B to A."),
    ],
)
def test_headlines_of_the_domino(mark, text):
    assert headline(at(mark)[0]) == text


def test_the_clock_may_be_later_than_the_last_event():
    view, _ = at("late")
    assert "fsync 4.48 s so far" in headline(view, view.time_ns + 1000 * MS)


def test_before_anything():
    assert headline(ClusterView()).startswith("Nothing has happened yet")


def test_measured_model_does_not_blame_the_token():
    view, story = at("flying")
    for body in (ev.FsyncStarted("pmxcfs", "config.db"), ev.ProcessBlocked(("pmxcfs",), "fsync of config.db")):
        view.apply(story.timeline[story.add(C, body)])
    assert headline(view).startswith("pmxcfs on C is waiting for its disk")
    assert "The token does not wait for it." in headline(view)


def test_hole():
    view, story = at("held")
    story.add(B, totem.TokenReceived(story.ring, 9, 41, 38, 2, 0, 0, (), 38, 0))
    view.apply(story.timeline[story.last])
    assert headline(view) == "B has the token, which tells of seq 41; it has everything up to 38 only."
    story.add(B, totem.RetransmitChecked((), (), ((39, 2),), 17))
    view.apply(story.timeline[story.last])
    assert headline(view) == "B found a hole at 39: second visit of five before it asks."
    assert sentence(story.timeline[story.last], view) == "B misses 39 (visit 2 of 5 before it asks)"


def test_lost_token():
    view, story = at("flying")
    story.add(B, ev.DatagramDropped(A, B, story.sent, "orf_token", "by hand"))
    view.apply(story.timeline[story.last])
    assert headline(view) == "The token was lost on its way from A to B 0 µs ago. A sends its copy again every 869 ms."


def test_gather_names_the_silent_and_the_time_left():
    view, story = at("ring of two")
    story.wait(3650 * MS)
    story.state(B, "GATHER", 2, "The token was lost in the OPERATIONAL state.", (1, 2, 3))
    view.apply(story.timeline[story.last])
    view.nodes[C].blocked_since_ns = -1
    assert headline(view) == (
        "B heard nothing of the token for 3.65 s and looks for members. A and C have 4.38 s left to answer."
    )


def test_popular_errors_are_never_told():
    """Sheet §11: aru says nothing of delivery or disks, and a lost token does not name a dead node."""
    for story in (domino(), recording()):
        cursor = Cursor(story.timeline)
        for index in range(len(story.timeline)):
            cursor.move_to(index)
            text = headline(cursor.view).lower() + sentence(story.timeline[index], cursor.view).lower()
            assert not ("aru" in text and "durable" in text)
            assert "everybody has delivered" not in text


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [(160_000, "160 µs"), (4_200_000, "4.2 ms"), (685 * MS, "685 ms"), (3650 * MS, "3.65 s"), (12_300 * MS, "12.3 s")],
)
def test_span(time_ns, text):
    assert span(time_ns) == text


def test_lists():
    view, _ = at("held")
    assert names(view, ()) == "nobody"
    assert names(view, (A, B, C)) == "A, B and C"
    assert numbers((39,)) == "39"
    assert numbers((39, 40, 41, 44)) == "39–41 and 44"


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("COMMIT", "A and B have agreed on ring 1.13, C has agreed on ring 3.13: the commit token goes round twice."),
        (
            "RECOVERY",
            "A and B form ring 1.13, C forms ring 3.13: "
            "members of the old ring send each other what some of them miss.",
        ),
    ],
)
def test_every_ring_that_forms_is_told_with_its_own_nodes(state, told):
    story = Story()
    story.boot()
    for ring, members in ((RingId(1, 0x13), (A, B)), (RingId(3, 0x13), (C,))):
        story.ring = ring
        for node in members:
            story.state(node, state, -1, "", members)
    cursor = Cursor(story.timeline)
    cursor.move_to(len(story.timeline) - 1)
    assert headline(cursor.view) == told
