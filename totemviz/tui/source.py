"""Which of our functions said what an event says, and what that function is called in the real programs.

Nothing is recorded while a run is made: an event's kind is the name of a struct, and the sources say where such a
struct is made. A log line is found by its own text. What handled the input that led to the event is the cell of the
ring's state table (``totemviz.totem.table``).
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import totemviz
from totemviz.totem import effects as totem
from totemviz.totem.effects import TotemTimer
from totemviz.totem.states import State
from totemviz.totem.table import TABLE, Cell, Input
from totemviz.trace import events as ev
from totemviz.trace.events import Event
from totemviz.trace.loglines import meaning_of
from totemviz.trace.timeline import Timeline
from totemviz.tui.counterparts import COUNTERPARTS
from totemviz.tui.lifelines import Lifelines

ROOT = Path(totemviz.__file__).parent
ROOMS = ("totem", "corosync", "pmxcfs", "sim")
CHAIN = 6
WORDS_TRIED = 3
OWN_LETTERS = 6
"""A text in the source with fewer letters of its own says nothing about where a log line comes from."""
WIRE_CLASSES = {
    "orf_token": ("send_token", "resend_token"),
    "mcast": ("Mcast",),
    "memb_join": ("Join",),
    "memb_commit_token": ("CommitToken", "send_commit_token"),
    "memb_merge_detect": ("MergeDetect",),
    "token_hold_cancel": ("HoldCancel",),
}
STATE_FUNCTIONS = {
    "GATHER": "enter_gather",
    "COMMIT": "enter_commit",
    "RECOVERY": "enter_recovery",
    "OPERATIONAL": "enter_operational",
}
INPUT_OF_DATAGRAM = {
    "orf_token": Input.ORF_TOKEN,
    "mcast": Input.OWN_MCAST,
    "memb_join": Input.JOIN,
    "memb_commit_token": Input.COMMIT_TOKEN,
    "memb_merge_detect": Input.FOREIGN_MERGE_DETECT,
    "token_hold_cancel": Input.HOLD_CANCEL,
}
INPUT_OF_TIMER = {
    TotemTimer.TOKEN_LOSS.value: Input.TOKEN_LOSS,
    TotemTimer.CONSENSUS.value: Input.CONSENSUS,
    TotemTimer.JOIN.value: Input.JOIN_TIMER,
}


class Function(NamedTuple):
    """A function of ours: its file below ``totemviz/``, its name, its lines, and the lines that matter now."""

    path: str
    name: str
    first: int
    last: int
    marked: tuple[int, ...] = ()

    @property
    def counterpart(self) -> str:
        """``file.c: function`` of the real programs, empty if only a simulation has such a thing."""
        known = COUNTERPARTS.get(f"{self.path}: {self.name}")
        if known is not None:
            return known
        told = re.search(r"``((?:[\w/]+/)?[\w-]+\.(?:c|pm|h): [\w, ]+)``", "\n".join(self.lines()[:12]))
        return told[1] if told else ""

    def lines(self) -> list[str]:
        """The source."""
        return _text(self.path).split("\n")[self.first - 1 : self.last]


class Handler(NamedTuple):
    """What the ring's state table says about the input that led to an event."""

    input: Input
    state: State
    cell: Cell


# ------------------------------------------------------------------------------------------------------- the sources


@lru_cache(maxsize=128)
def _text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _files() -> tuple[str, ...]:
    return tuple(
        str(file.relative_to(ROOT)) for room in ROOMS for file in sorted((ROOT / room).rglob("*.py")) if file.is_file()
    )


@lru_cache(maxsize=128)
def _functions(path: str) -> tuple[tuple[Function, ast.AST], ...]:
    """All functions of a file, inner ones behind those around them."""
    found: list[tuple[Function, ast.AST]] = []

    def walk(node: ast.AST, names: tuple[str, ...]) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                inner = (*names, child.name)
                if isinstance(child, ast.FunctionDef):
                    found.append((Function(path, ".".join(inner), child.lineno, child.end_lineno or 0), child))
                walk(child, inner)
            else:
                walk(child, names)

    walk(ast.parse(_text(path)), ())
    return tuple(found)


def _calls(path: str, wanted: Callable[[str, ast.Call], bool]) -> Iterator[Function]:
    """Functions of a file with a call that is wanted, its lines marked."""
    for function, node in _functions(path):
        lines = sorted(
            {
                line
                for call in ast.walk(node)
                if isinstance(call, ast.Call) and wanted(_called(call), call)
                for line in range(call.lineno, (call.end_lineno or call.lineno) + 1)
            }
        )
        inner = [other for other, _ in _functions(path) if function.first < other.first <= function.last]
        if lines and not any(other.first <= lines[0] and lines[-1] <= other.last for other in inner):
            yield function._replace(marked=tuple(lines))


def _called(call: ast.Call) -> str:
    return str(getattr(call.func, "attr", getattr(call.func, "id", "")))


@lru_cache(maxsize=256)
def makers_of(*names: str, room: str = "") -> tuple[Function, ...]:
    """The functions (of one room) that make one of these structs, or call one of these functions."""
    found: list[Function] = []
    for path in _files():
        text = _text(path)
        if path.startswith(room) and path != "totem/wire.py" and any(f"{name}(" in text for name in names):
            found += _calls(path, lambda name, call: name in names)
    return tuple(found)


@lru_cache(maxsize=256)
def makers_of_line(text: str) -> tuple[Function, ...]:
    """The function (or table) with a text that becomes this log line."""
    words = {word: [path for path in _files() if word in _text(path)] for word in re.findall(r"[A-Za-z]{3,}", text)}
    rarest_first = sorted((len(paths), word) for word, paths in words.items() if paths)
    for _, word in rarest_first[:WORDS_TRIED]:  # the rarest may be a value, not a word of the program
        for path in words[word]:
            for function, pieces in _texts(path):
                if all(piece in text for piece in pieces) and _joins(pieces, text):
                    return (function,)
    return ()


@lru_cache(maxsize=128)
def _texts(path: str) -> tuple[tuple[Function, tuple[str, ...]], ...]:
    """All texts of a file, as the pieces between what is filled in, with the innermost function or table around."""
    owners: list[tuple[Function, ast.AST]] = [
        (Function(path, ast.unparse(node.targets[0]), node.lineno, node.end_lineno or node.lineno), node)
        for node in ast.parse(_text(path)).body
        if isinstance(node, ast.Assign)
    ]
    found: dict[tuple[int, int], tuple[Function, tuple[str, ...]]] = {}
    for owner, body in (*owners, *_functions(path)):
        seen: set[tuple[int, int]] = set()  # the pieces of an f-string have the place of the whole
        for node in ast.walk(body):
            pieces = _pieces(node)
            if not pieces or not isinstance(node, ast.expr) or (node.lineno, node.col_offset) in seen:
                continue
            seen.add((node.lineno, node.col_offset))
            if sum(map(len, pieces)) >= OWN_LETTERS:
                lines = tuple(range(node.lineno, (node.end_lineno or node.lineno) + 1))
                found[node.lineno, node.col_offset] = owner._replace(marked=lines), pieces
    return tuple(sorted(found.values(), key=lambda pair: -sum(map(len, pair[1]))))


def _pieces(node: ast.AST) -> tuple[str, ...]:
    """The fixed parts of a string in the source."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return (node.value,)
    if isinstance(node, ast.JoinedStr):
        return tuple(
            part.value for part in node.values if isinstance(part, ast.Constant) and isinstance(part.value, str)
        )
    return ()


def _joins(pieces: tuple[str, ...], text: str) -> bool:
    """Whether the pieces follow each other in the text and leave only values out, no words of a line."""
    pattern = ".*".join(map(re.escape, pieces))
    return re.fullmatch(f"(?:[^ ]* ?)??{pattern}.*", text) is not None


def function_of(handler: Callable[..., Any]) -> Function | None:
    """A function object's place in the sources."""
    path = Path(inspect.getsourcefile(handler) or "")
    if not path.is_relative_to(ROOT):
        return None
    relative = str(path.relative_to(ROOT))
    return next((function for function, _ in _functions(relative) if function.name == handler.__qualname__), None)


# -------------------------------------------------------------------------------------------------------- an event


def functions_of(event: Event) -> tuple[Function, ...]:
    """Where an event was said: usually one function, sometimes a few that say the same."""
    body = event.body
    match body:
        case totem.Log():
            return makers_of_line(body.text)
        case totem.StateEntered():
            entered = makers_of("observe_state")
            return tuple(place for place in entered if place.name == STATE_FUNCTIONS.get(body.state)) or entered
        case ev.DatagramSent():
            return makers_of(*WIRE_CLASSES.get(body.kind, ("Send",)), room="totem/")
    return makers_of(type(body).__name__)


def counterpart_of(event: Event, function: Function) -> str:
    """The real function; for a log line the one that prints it."""
    if isinstance(event.body, totem.Log) and (meaning := meaning_of(event.body)) is not None:
        return meaning.source
    return function.counterpart


def handler_of(event: Event, timeline: Timeline, lives: Lifelines) -> Handler | None:
    """The cell of the state table that the input behind an event met; None if no input of the ring is near."""
    for _ in range(CHAIN):
        body = event.body
        if isinstance(body, ev.DatagramReceived):
            what = INPUT_OF_DATAGRAM.get(body.kind)
        elif isinstance(body, ev.TimerExpired):
            what = INPUT_OF_TIMER.get(body.timer)
        else:
            what = None
        if what is not None:
            state = lives.at(event.node, event.id).state
            return Handler(what, State(state), TABLE[what][State(state)]) if state in State.__members__ else None
        if event.cause < 0 or timeline[event.cause].node != event.node:
            return None
        event = timeline[event.cause]
    return None
