"""The membership states as a picture, drawn from ``table.TABLE``.

``python -m totemviz.totem.diagram > assets/states.svg``

Arrows are the cells that lead to another state; what is written at them is the input. Nothing here knows more than the
table, so the picture cannot say anything else than the code does.
"""

from __future__ import annotations

import math
import sys
from html import escape

from totemviz.totem.states import State
from totemviz.totem.table import TABLE

WIDTH, HEIGHT = 1080, 720
BOX_WIDTH, BOX_HEIGHT = 230, 66
_PLACES = {
    State.OPERATIONAL: (190, 180),
    State.GATHER: (850, 180),
    State.COMMIT: (850, 560),
    State.RECOVERY: (190, 560),
}
_WORDS = {
    State.OPERATIONAL: "the token goes round",
    State.GATHER: "who is there?",
    State.COMMIT: "who holds what?",
    State.RECOVERY: "bring the old ring to an end",
}
_STYLE = (
    "text{font-family:ui-monospace,Menlo,Consolas,monospace;fill:#d7dde5}"
    ".box{fill:#1b2129;stroke:#ffb454;stroke-width:2}.name{font-size:17px;font-weight:700}"
    ".words,.label{font-size:12px;fill:#9aa5b1}.arrow{fill:none;stroke:#6cb6ff;stroke-width:1.6}"
    ".lost{stroke:#ff7b72}"
)
BEND = 0.25
LINE_HEIGHT = 15


def transitions() -> dict[tuple[State, State], list[str]]:
    """(from, to) → the inputs that may lead there, in the table's order; a state to itself left out."""
    found: dict[tuple[State, State], list[str]] = {}
    for kind, row in TABLE.items():
        for state, cell in row.items():
            for target in cell.to:
                if target is not state:
                    found.setdefault((state, target), []).append(str(kind))
    return found


def svg() -> str:
    """The diagram as one SVG document."""
    arrows = [_arrow(source, target, inputs) for (source, target), inputs in transitions().items()]
    boxes = [_box(state) for state in State]
    marker = (
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L10 5L0 10z" fill="#6cb6ff"/></marker></defs>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">'
        f"<title>Membership states of Totem in corosync</title><style>{_STYLE}</style>{marker}"
        f'<rect width="100%" height="100%" rx="14" fill="#0f141a"/>{"".join(arrows)}{"".join(boxes)}</svg>\n'
    )


def _box(state: State) -> str:
    x, y = _PLACES[state]
    left, top = x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2
    return (
        f'<rect class="box" x="{left:g}" y="{top:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="12"/>'
        f'<text class="name" x="{x}" y="{y - 4}" text-anchor="middle">{state.value}</text>'
        f'<text class="words" x="{x}" y="{y + 17}" text-anchor="middle">{_WORDS[state]}</text>'
    )


def _arrow(source: State, target: State, inputs: list[str]) -> str:
    """A curve bent to its right-hand side, so that there and back do not meet, with its inputs beside it."""
    (x1, y1), (x2, y2) = _PLACES[source], _PLACES[target]
    length = math.hypot(x2 - x1, y2 - y1)
    normal_x, normal_y = (y1 - y2) / length, (x2 - x1) / length
    middle_x = (x1 + x2) / 2 - normal_x * BEND * length
    middle_y = (y1 + y2) / 2 - normal_y * BEND * length
    start_x, start_y = _edge(source, middle_x, middle_y)
    end_x, end_y = _edge(target, middle_x, middle_y)
    text_x, text_y = (start_x + 2 * middle_x + end_x) / 4, (start_y + 2 * middle_y + end_y) / 4
    top = text_y - LINE_HEIGHT * (len(inputs) - 1) / 2
    spots = [(top + LINE_HEIGHT * i, escape(words)) for i, words in enumerate(inputs)]
    lines = "".join(
        f'<text class="label" x="{text_x:.0f}" y="{y:.0f}" text-anchor="middle">{words}</text>' for y, words in spots
    )
    width = 7.4 * max(map(len, inputs)) + 8
    height = LINE_HEIGHT * len(inputs) + 5
    plate = (
        f'<rect x="{text_x - width / 2:.0f}" y="{top - 13:.0f}" width="{width:.0f}" height="{height}" rx="5" '
        'fill="#0f141a"/>'
    )
    path = f"M{start_x:.0f} {start_y:.0f}Q{middle_x:.0f} {middle_y:.0f} {end_x:.0f} {end_y:.0f}"
    return f'<path class="arrow" d="{path}" marker-end="url(#tip)"/>{plate}{lines}'


def _edge(state: State, toward_x: float, toward_y: float) -> tuple[float, float]:
    """Where a line from the middle of a box towards a point leaves it."""
    x, y = _PLACES[state]
    dx, dy = toward_x - x, toward_y - y
    scale = min(
        (BOX_WIDTH / 2 + 6) / abs(dx) if dx else math.inf,
        (BOX_HEIGHT / 2 + 6) / abs(dy) if dy else math.inf,
    )
    return x + dx * scale, y + dy * scale


if __name__ == "__main__":
    sys.stdout.write(svg())
