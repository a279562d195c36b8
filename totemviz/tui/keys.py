"""Every key of the cockpit, once: bindings, footer, help and palette are made from this table.

Each has an id, so that a key map can give it another key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from textual.binding import Binding


class Key(NamedTuple):
    """A command: the keys it has (Textual's names), how they are written, what it does, in long and in short."""

    id: str
    keys: str
    shown: str
    action: str
    help: str
    group: str
    short: str = ""
    needs_world: bool = False


TIME, DO, LOOK, PROGRAM = "Move in time", "Change the cluster", "Look", "The program"

KEYS = (
    Key("stage.next", "right,l", "→", "step('stage')", "next stage of a token visit", TIME, "step"),
    Key("stage.back", "left,h", "←", "step_back('stage')", "previous stage", TIME, "back"),
    Key("play", "space", "space", "play", "let time run, or stop it", TIME, "run"),
    Key("event.next", "full_stop", ".", "step('event')", "next single event", TIME),
    Key("event.back", "comma", ",", "step_back('event')", "previous single event", TIME, "event"),
    Key("hop.next", "right_square_bracket", "]", "step('hop')", "token at the next node", TIME),
    Key("hop.back", "left_square_bracket", "[", "step_back('hop')", "token at the node before", TIME, "hop"),
    Key("rotation.next", "right_curly_bracket", "}", "step('rotation')", "token at this node again", TIME),
    Key("rotation.back", "left_curly_bracket", "{", "step_back('rotation')", "the rotation before", TIME, "rotation"),
    Key("membership.next", "m", "m", "step('membership')", "next new ring", TIME, "new ring"),
    Key("membership.back", "M", "M", "step_back('membership')", "the new ring before", TIME),
    Key("delivered.next", "d", "d", "step('delivered')", "message delivered everywhere", TIME),
    Key("delivered.back", "D", "D", "step_back('delivered')", "the one before", TIME),
    Key("eventful.next", "i", "i", "step('eventful')", "past the idle rounds", TIME),
    Key("eventful.back", "I", "I", "step_back('eventful')", "back past the idle rounds", TIME),
    Key("time.next", "greater_than_sign", ">", "step_time(1)", "100 ms on", TIME),
    Key("time.back", "less_than_sign", "<", "step_time(-1)", "100 ms back", TIME),
    Key("play.back", "p", "p", "play_back", "let time run backwards", TIME),
    Key("idle", "z", "z", "skip_idle", "skip idle rounds, or not", TIME),
    Key("goto", "g", "g", "goto", "go to a time, an event, words", TIME, "go to"),
    Key("stops", "b", "b", "stops", "stops: what holds the run", TIME, "stops"),
    Key("start", "home", "home", "start", "begin of the run", TIME),
    Key("end", "end", "end", "end", "end of what is known", TIME),
    Key("faster", "plus,equals_sign", "+", "speed(1)", "run faster", TIME),
    Key("slower", "minus", "-", "speed(-1)", "run slower", TIME, "speed"),
    Key("write", "w", "w", "write", "write a file to /etc/pve", DO, "write", True),
    Key("fault", "x", "x", "fault", "stall, kill, cut, drop …", DO, "fault", True),
    Key("flights", "X", "X", "flights", "to what is on its way: drop, delay …", DO, "in flight", True),
    Key("links", "K", "K", "links", "links: loss and delay", DO, "links", True),
    Key("mark", "e", "e", "mark", "mark the chosen node, or not", DO, "mark", True),
    Key("part", "P", "P", "part", "split the marked nodes off", DO, "split off", True),
    Key("undo", "u", "u", "undo", "undo the last thing done", DO, "undo", True),
    Key("redo", "U", "U", "redo", "take the undo back", DO, "", True),
    Key("whatif", "W", "W", "what_if", "what if it had not been done?", DO, "what if", True),
    Key("branches", "B", "B", "branches", "the tree of branches", DO, "branches", True),
    Key("share", "s", "s", "share", "save, or share as a string", PROGRAM, "", True),
    Key("model", "a", "a", "model", "the other host model", DO, "model", True),
    Key("tab.space-time", "1", "1", "tab('space-time')", "space-time diagram", LOOK),
    Key("tab.events", "2", "2", "tab('events')", "events", LOOK),
    Key("tab.log", "3", "3", "tab('log')", "log of corosync and pmxcfs", LOOK),
    Key("tab.bytes", "4", "4", "tab('bytes')", "bytes of the datagram", LOOK),
    Key("tab.code", "5", "5", "tab('code')", "code: ours, and its name in corosync", LOOK),
    Key("tab.why", "6,y", "y", "tab('why')", "why: the causes, in words", LOOK),
    Key("tab.files", "7", "7", "tab('files')", "files of /etc/pve, compared", LOOK),
    Key("tab.node", "8", "8", "tab('node')", "one node in full", LOOK),
    Key("node.next", "n", "n", "node(1)", "choose the next node", LOOK, "node"),
    Key("node.back", "N", "N", "node(-1)", "choose the node before", LOOK),
    Key("filter", "slash", "/", "filter", "show only matching events", LOOK, "find"),
    Key("compare", "v", "v", "compare", "two branches, or two nodes", LOOK, "compare"),
    Key("clear", "escape", "esc", "clear", "no filter, no chosen node", LOOK),
    Key("theme", "t", "t", "theme", "next theme: dark, light, safe …", PROGRAM),
    Key("lesson", "L", "L", "lesson", "show or hide the lesson", PROGRAM),
    Key("palette", "ctrl+p", "^p", "command_palette", "everything, by name", PROGRAM, "all"),
    Key("maximise", "f", "f", "maximise", "this panel as large as can be", LOOK, "full"),
    Key("copy", "c", "c", "copy", "copy this panel's text", PROGRAM),
    Key("picture", "f12", "F12", "picture", "save the screen as SVG", PROGRAM),
    Key("tour", "T", "T", "tour", "the tour, six stops", PROGRAM),
    Key("help", "question_mark,f1", "?", "help", "all keys and signs", PROGRAM, "help"),
    Key("quit", "q,ctrl+q", "q", "quit", "leave", PROGRAM, "quit"),
)


# what the footer offers, most useful first; pairs share a word
FOOTER = (
    ("stage.back", "stage.next", "step"),
    ("play", "", "run"),
    ("write", "", "write"),
    ("fault", "", "fault"),
    ("hop.back", "hop.next", "hop"),
    ("membership.next", "", "new ring"),
    ("tab.why", "", "why"),
    ("rotation.back", "rotation.next", "rotation"),
    ("event.back", "event.next", "event"),
    ("slower", "faster", "speed"),
    ("node.next", "", "node"),
    ("stops", "", "stops"),
    ("branches", "", "branches"),
    ("undo", "", "undo"),
    ("filter", "", "find"),
    ("model", "", "model"),
    ("theme", "", "theme"),
    ("palette", "", "everything"),
)
FOOTER_ALWAYS = (("help", "", "help"), ("quit", "", "quit"))


def bindings() -> list[Binding]:
    """Textual's form of the table; the arrows and letters work unless a text field has the focus."""
    from textual.binding import Binding  # noqa: PLC0415 - commands without a screen read the table too

    return [Binding(key.keys, key.action, key.help, key_display=key.shown, show=False, id=key.id) for key in KEYS]
