"""Loss and delay of the links by slider: which links, how they are and shall be, and what the token makes of it."""

from __future__ import annotations

import math
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from totemviz.sim import interventions as do
from totemviz.sim.interventions import AnyIntervention
from totemviz.sim.scenario import NetworkSpec
from totemviz.sim.units import MS, US, Duration
from totemviz.trace.view import ClusterView
from totemviz.trace.words import span, who
from totemviz.tui.circle import rings
from totemviz.tui.links import LinkState, Pair, links_of
from totemviz.tui.paint import DIM, FAINT, HEAD, PLAIN, TROUBLE, YOU, Line, cell, clip
from totemviz.tui.slider import Choice, Slider
from totemviz.tui.theme import look

EVERY = 0
LOSSES = (*range(10), *range(10, 30, 2), *range(30, 101, 5))
DELAYS_NS = (
    *(n * US for n in (0, 10, 20, 50, 100, 200, 500)),
    *(n * MS for n in (1, 2, 5, 10, 20, 50, 100, 150, 200, 250, 300, 400, 500, 750, 1000, 1500, 2000, 3000, 5000)),
)
CELL = 11
WORKS, CUT = 0, 1


def chosen_pairs(states: dict[Pair, LinkState], source: int, target: int) -> list[Pair]:
    """The links from a node to a node, ``EVERY`` standing for all."""
    return [pair for pair in states if source in (EVERY, pair[0]) and target in (EVERY, pair[1])]


def changes(
    before: dict[Pair, LinkState], after: dict[Pair, LinkState], source: int, target: int
) -> list[AnyIntervention]:
    """What is to be done to the chosen links so that they become what they shall be."""
    pairs = chosen_pairs(before, source, target)
    found: list[AnyIntervention] = []
    if any(before[pair].loss_percent != after[pair].loss_percent for pair in pairs):
        found.append(do.Loss(percent=after[pairs[0]].loss_percent, source=source, target=target))
    if any(before[pair].delay_ns != after[pair].delay_ns for pair in pairs):
        found.append(do.Delay(delay=Duration(after[pairs[0]].delay_ns), source=source, target=target))
    if any(before[pair].cut and not after[pair].cut for pair in pairs):
        found.append(do.Heal(source=source, target=target))
    found += [do.CutOneWay(source=s, target=t) for s, t in pairs if after[s, t].cut and not before[s, t].cut]
    return found


def effect(view: ClusterView, states: dict[Pair, LinkState]) -> list[str]:
    """What it means for the token of each ring, in words: how often it is lost, how long a turn takes."""
    told = []
    for ring, members in rings([view.nodes[nodeid] for nodeid in sorted(view.nodes)]).items():
        if len(members) < 2:
            continue
        way = [states[pair] for pair in zip(members, [*members[1:], members[0]], strict=True)]
        told.append(f"ring {ring}: {_survival(view, way)}; {_turn(view, way)}.")
    return told or ["No ring is up: nothing passes but what looks for one."]


def _timeout_ns(view: ClusterView, key: str) -> int:
    return view.timeout_ms(EVERY, key) * MS


def _survival(view: ClusterView, way: list[LinkState]) -> str:
    lives = math.prod(0.0 if link.cut else 1 - link.loss_percent / 100 for link in way)
    if lives == 0:
        return "no token comes round"
    if lives == 1:
        return "no token is lost"
    turns = 1 / (1 - lives)
    often = "nearly every turn of the token" if turns < 1.5 else f"about one turn of the token in {turns:.0f}"
    again = _timeout_ns(view, "token_retransmit")
    return f"{often} loses it on the way" + (f", it is sent again after {span(again)}" if again else "")


def _turn(view: ClusterView, way: list[LinkState]) -> str:
    turn_ns = sum(link.delay_ns for link in way)
    token_ns, again_ns = _timeout_ns(view, "token"), _timeout_ns(view, "token_retransmit")
    text = f"a turn takes {span(turn_ns)} on the wires"
    if token_ns and turn_ns > token_ns:
        return f"{text}, longer than the token timeout of {span(token_ns)}: no ring can live with that"
    if again_ns and turn_ns > again_ns:
        return f"{text}, longer than {span(again_ns)}: tokens are sent again that were not lost"
    return text


def _delay_words(delay_ns: float) -> str:
    return span(int(delay_ns)) if delay_ns else "none"


class LinkDialog(ModalScreen[list[AnyIntervention] | None]):
    """The sliders over a table of all links. Enter gives back what is to be done, escape nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "leave", show=False),
        Binding("enter", "done", "do it", show=False),
        Binding("up,k", "app.focus_previous", "the slider above", show=False),
        Binding("down,j", "app.focus_next", "the slider below", show=False),
    ]

    def __init__(self, view: ClusterView, base: NetworkSpec, source: int = EVERY, target: int = EVERY) -> None:
        super().__init__()
        self.view = view
        self.before = links_of(view, base)
        self._source, self._target = source, target

    def compose(self) -> ComposeResult:  # noqa: D102
        def node(nodeid: float) -> str:
            return who(self.view, int(nodeid)) if nodeid else "every"

        nodes = (EVERY, *sorted(self.view.nodes))
        with Vertical(classes="box links") as box:
            box.border_title = "links: loss and delay"
            box.border_subtitle = "↑ ↓ line · ← → value, or drag · enter do it · esc leave"
            yield Choice("from", nodes, node, id="source")
            yield Choice("to", nodes, node, id="target")
            yield Static("")
            yield Slider("loss", LOSSES, lambda percent: f"{percent:g} %", id="loss")
            yield Slider("delay", DELAYS_NS, _delay_words, id="delay")
            yield Choice("link", (WORKS, CUT), lambda cut: "cut" if cut else "works", id="cut")
            yield Static("", id="effect")
            yield Static("", id="table")

    def on_mount(self) -> None:
        """Show how the chosen links are."""
        self._slider("source").put(self._source)
        self._slider("target").put(self._target)
        self._take_over()
        self._slider("loss").focus()

    def _slider(self, name: str) -> Slider:
        return self.query_one(f"#{name}", Slider)

    @property
    def chosen(self) -> Pair:
        """From where to where, ``EVERY`` standing for all."""
        return int(self._slider("source").value), int(self._slider("target").value)

    def _take_over(self) -> None:
        """The sliders stand where the worst of the chosen links is."""
        states = [self.before[pair] for pair in chosen_pairs(self.before, *self.chosen)]
        for name, value in (
            ("loss", max((link.loss_percent for link in states), default=0.0)),
            ("delay", max((link.delay_ns for link in states), default=0)),
            ("cut", CUT if states and all(link.cut for link in states) else WORKS),
        ):
            self._slider(name).put(value)
        self._touched: set[str] = set()
        self._draw()

    def on_slider_moved(self, event: Slider.Moved) -> None:
        """Other links, or another value for these."""
        if event.slider.id in ("source", "target"):
            self._take_over()
        else:
            self._touched.add(event.slider.id or "")
            self._draw()

    @property
    def after(self) -> dict[Pair, LinkState]:
        """All links as they shall be; a slider that was not touched leaves them alone."""
        wanted = dict(self.before)
        for pair in chosen_pairs(self.before, *self.chosen):
            state = wanted[pair]
            if "loss" in self._touched:
                state = state._replace(loss_percent=float(self._slider("loss").value))
            if "delay" in self._touched:
                state = state._replace(delay_ns=int(self._slider("delay").value))
            if "cut" in self._touched:
                state = state._replace(cut=self._slider("cut").value == CUT)
            wanted[pair] = state
        return wanted

    # ---------------------------------------------------------------------------------------------------- drawing

    def _draw(self) -> None:
        after = self.after
        self.query_one("#effect", Static).update(self._text([[(line, PLAIN)] for line in effect(self.view, after)]))
        self.query_one("#table", Static).update(self._text(self._table(after)))

    def _text(self, lines: list[Line]) -> Text:
        theme = self.app.current_theme
        joined = Text()
        for line in [[("", PLAIN)], *lines]:
            joined.append_text(Text.assemble(*((text, look(role, theme)) for text, role in line), "\n"))
        return joined

    def _table(self, after: dict[Pair, LinkState]) -> list[Line]:
        """From row to column: what each link loses and how long it takes."""
        room = max(1, (min(self.app.size.width, 96) - 14) // CELL)
        nodes = sorted(self.view.nodes)[:room]
        lines: list[Line] = [[*cell([("", DIM)], 6)]]
        for target in nodes:
            lines[0] += cell([(f"→ {who(self.view, target)}", DIM)], CELL)
        for source in nodes:
            line = cell([(who(self.view, source), HEAD)], 6)
            for target in nodes:
                line += cell(self._cell(source, target, after), CELL)
            lines.append(line)
        hidden = len(self.view.nodes) - len(nodes)
        return [*lines, [(f"and {hidden} more nodes", DIM)]] if hidden else lines

    def _cell(self, source: int, target: int, after: dict[Pair, LinkState]) -> Line:
        if source == target:
            return [("·", FAINT)]
        state = after[source, target]
        trouble = state.cut or state.loss_percent > 0
        role = YOU if state != self.before[source, target] else TROUBLE if trouble else DIM
        words = "╳ cut" if state.cut else f"{state.loss_percent:g}% {span(state.delay_ns)}"
        return clip([(words, role)], CELL - 1)

    # ----------------------------------------------------------------------------------------------------- leaving

    def action_done(self) -> None:
        """Give back what is to be done."""
        self.dismiss(changes(self.before, self.after, *self.chosen))

    def action_leave(self) -> None:
        """Leave everything as it is."""
        self.dismiss(None)
