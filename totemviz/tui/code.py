"""The code page: the function of ours that said what the event says, its lines lit, and its namesake in corosync."""

from __future__ import annotations

from functools import lru_cache

from pygments.lexers.python import PythonLexer
from pygments.token import Comment, Keyword, Literal, Name, Operator, _TokenType

from totemviz.trace.events import kind_of
from totemviz.tui.lifelines import Lifelines
from totemviz.tui.moment import Moment
from totemviz.tui.paint import DIM, FAINT, GOOD, HEAD, ON_CURSOR, PLAIN, TOKEN, YOU, Drawing, Line, clip, line_width
from totemviz.tui.source import Function, Handler, counterpart_of, function_of, functions_of, handler_of
from totemviz.tui.textpanel import TextPanel

FUNCTIONS_MAX = 4
ABOVE = 3

_ROLES: tuple[tuple[_TokenType, str], ...] = (
    (Comment, DIM),
    (Literal.String, GOOD),
    (Keyword, YOU),
    (Operator.Word, YOU),
    (Name.Function, HEAD),
    (Name.Class, HEAD),
)


@lru_cache(maxsize=64)
def highlighted(function: Function) -> tuple[Line, ...]:
    """The lines of a function as spans with roles."""
    source = "\n".join(function.lines())
    lines: list[Line] = [[]]
    for token, text in PythonLexer(stripnl=False, ensurenl=False).get_tokens(source):
        role = next((role for kind, role in _ROLES if token in kind), PLAIN)
        for index, part in enumerate(text.split("\n")):
            if index:
                lines.append([])
            if part:
                lines[-1].append((part, role))
    return tuple(lines)


class CodePanel(TextPanel):
    """The function, or the few that say the same, and the cell of the state table behind it."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lives = Lifelines()

    def title(self, moment: Moment) -> str:  # noqa: D102
        return "code"

    def content(self, moment: Moment, width: int) -> Drawing:  # noqa: D102
        event = moment.view.last
        if event is None:
            return Drawing([[(" Nothing has happened yet.", DIM)]])
        if moment.recorded:
            note = "the machine that said this ran on a real node; this is what ours would have run"
        else:
            note = ""
        self._lives.sync(moment.timeline)
        lines: list[Line] = []
        handler = handler_of(event, moment.timeline, self._lives)
        if handler is not None:
            lines.append(clip(_cell(handler), width))
        functions = functions_of(event)[:FUNCTIONS_MAX]
        if not functions:
            lines.append([(f" No function of ours says {kind_of(event.body)}.", DIM)])
        for function in functions:
            lines += _function(function, counterpart_of(event, function), note, width)
        if handler is not None and handler.cell.handler is not None:
            behind = function_of(handler.cell.handler)
            if behind is not None and behind.name not in {function.name for function in functions}:
                lines += _function(behind, behind.counterpart, "what the state table calls", width)
        return Drawing(lines)

    def first_row(self, moment: Moment, lines: list[Line], height: int) -> int:
        """The lit lines come into sight by themselves."""
        lit = next((row for row, line in enumerate(lines) if any(ON_CURSOR in role for _, role in line)), 0)
        return lit - max(ABOVE, height // 2) if lit >= height - 1 else 0


def _cell(handler: Handler) -> Line:
    state = handler.state.value.capitalize()
    return [
        (" state table: ", DIM),
        (f"{handler.input.value} × {state}", TOKEN),
        (" → ", DIM),
        (handler.cell.text, PLAIN),
    ]


def _function(function: Function, counterpart: str, note: str, width: int) -> list[Line]:
    """A heading and the numbered source."""
    head: Line = [("─ ", FAINT), (f"totemviz/{function.path}: {function.name}", HEAD)]
    if counterpart:
        head += [("  in the real one ", DIM), (counterpart, TOKEN)]
    else:
        head.append(("  only a simulation has this", DIM))
    if note:
        head.append((f"  {note}", DIM))
    head.append((" ", DIM))
    head.append(("─" * max(0, width - line_width(head)), FAINT))
    lines: list[Line] = [clip(head, width)]
    for number, source in enumerate(highlighted(function), start=function.first):
        lit = number in function.marked
        line: Line = [(f"{'▸' if lit else ' '}{number:>4} ", TOKEN if lit else FAINT), *source]
        if lit:
            room = max(0, width - line_width(line))
            line = [(text, role + ON_CURSOR) for text, role in [*line, (" " * room, PLAIN)]]
        lines.append(clip(line, width))
    return lines
