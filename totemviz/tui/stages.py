"""The four stages of the token visit: receive, retransmit check, multicast, update and pass.

What a stage has not said yet is ``·``. Stage 4 shows what the visit changed in the token, old → new.
"""

from __future__ import annotations

from totemviz.trace.journeys import WriteView
from totemviz.trace.view import ClusterView, Visit
from totemviz.trace.words import NO_ARU, aru_text, grouped, miss_count, numbers, who
from totemviz.tui.lit import Lit
from totemviz.tui.moment import Moment
from totemviz.tui.paint import (
    CHANGED,
    DIM,
    FAINT,
    HEAD,
    NOW,
    PENDING,
    PLAIN,
    TOKEN,
    TROUBLE,
    YOU,
    Drawing,
    Line,
    cell,
    clip,
)
from totemviz.tui.panel import Panel

NAMES = ("① RECEIVE", "② RETRANSMIT", "③ MULTICAST", "④ UPDATE & PASS")
LABEL = 10
RECENT_WRITES = 40


def write_of(view: ClusterView, node: int, seq: int) -> WriteView | None:
    """The write whose change went out as ``seq`` from ``node``."""
    for number in sorted(view.writes, reverse=True)[:RECENT_WRITES]:
        write = view.writes[number]
        if write.node == node and any(change.seq == seq for change in write.changes):
            return write
    return None


def _row(label: str, *spans: tuple[str, str]) -> Line:
    return [(f"{label:<{LABEL}}", DIM), *spans]


def _was_is(label: str, before: object, after: object) -> Line:
    if before == after:
        return _row(label, (str(after), PLAIN))
    return _row(label, (f"{before} → {after}", CHANGED))


def receive(visit: Visit, lit: Lit) -> list[Line]:
    """Stage 1: the token as it arrived."""
    got = visit.received
    if got is None:
        return [_row(label, (PENDING, FAINT)) for label in ("token_seq", "seq", "aru")]
    mine = (
        [] if got.aru in (got.my_aru, NO_ARU) else [(f" (mine {got.my_aru})", TROUBLE if got.my_aru < got.seq else DIM)]
    )
    asked = [(f"asks {numbers(got.rtr)}", TROUBLE)] if got.rtr else [("–", DIM)]
    return [
        _row("token_seq", lit.span("token_seq", grouped(got.token_seq))),
        _row("seq", lit.span("seq", str(got.seq))),
        _row("aru", lit.span("aru", aru_text(got.aru)), *mine),
        _row("rtr list", *asked),
    ]


def retransmit(visit: Visit, view: ClusterView) -> list[Line]:
    """Stage 2: holes, requests, resends."""
    said = visit.checked
    if said is None:
        return [_row(label, (PENDING, FAINT)) for label in ("holes", "asked for", "resent")]
    holes: Line = [("none", DIM)]
    if said.missing:
        visits = max(count for _, count in said.missing)
        holes = [(f"{numbers(seq for seq, _ in said.missing)}: visit {visits}/{miss_count(view)}", TROUBLE)]
    return [
        _row("holes", *holes),
        _row("asked for", (numbers(said.requested), TROUBLE) if said.requested else ("–", DIM)),
        _row("resent", (numbers(said.resent), CHANGED) if said.resent else ("–", DIM)),
        _row("may send", (str(said.allowance), PLAIN)),
    ]


def multicast(visit: Visit, view: ClusterView, rows: int) -> list[Line]:
    """Stage 3: the messages that got a seq, by the write they carry."""
    lines: list[Line] = []
    for seq in visit.ordered[: rows - 1]:
        write = write_of(view, visit.node, seq)
        what = f"✎ {write.path.rsplit('/', 1)[-1]} (w{write.write})" if write else "message"
        lines.append([(f"{seq} ", CHANGED), (what, YOU if write else PLAIN)])
    if len(visit.ordered) > rows - 1:
        lines[-1] = [(f"… {len(visit.ordered)} messages", PLAIN)]
    said = visit.multicast
    if said is None:
        return lines or [[(PENDING, FAINT)]]
    if not said.count and not lines:
        lines.append([("nothing to send", DIM)])
    elif not visit.ordered and said.count:
        seqs = numbers(range(said.first_seq, said.first_seq + said.count))
        lines.append([("seq ", DIM), (seqs, CHANGED)])
    waiting = f"{said.queued} still wait" if said.queued > 0 else "queue empty" if said.queued == 0 else ""
    lines.append([(waiting, PLAIN if said.queued > 0 else DIM)])
    return lines


def update(visit: Visit, view: ClusterView) -> list[Line]:
    """Stage 4: the token as it leaves, and to whom."""
    got, left = visit.received, visit.passed
    if left is None or got is None:
        return [_row(label, (PENDING, FAINT)) for label in ("seq", "aru", "fcc")]
    name = who(view, left.successor)
    goes = "held" if left.held else f"→ {name}"
    rtr = [(numbers(left.rtr), TROUBLE)] if left.rtr else [("–", DIM)]
    if left.rtr != got.rtr:
        rtr = [(f"{numbers(got.rtr) if got.rtr else '–'} → {numbers(left.rtr) if left.rtr else '–'}", CHANGED)]
    return [
        _was_is("seq", got.seq, left.seq),
        _was_is("aru", aru_text(got.aru), aru_text(left.aru)),
        _was_is("fcc", got.fcc, left.fcc),
        _row("rtr list", *rtr),
        _row("goes", (goes, TOKEN)),
    ]


def progress(stage: int, reached: int, width: int) -> Line:
    """A stage's piece of the progress line: done, now, to come."""
    if stage < reached:
        return [("━" * width, TOKEN)]
    if stage == reached:
        return [("━" * (width - 5), TOKEN), (" now ", NOW)]
    return [("─" * width, FAINT)]


COLUMNS_WIDTH = 60
"""Narrower than this, four columns would cut every word."""


class StagesPanel(Panel):
    """Four columns; a list where it is narrow; two lines where it is low."""

    def title(self, moment: Moment) -> str:  # noqa: D102
        visit = moment.view.visit
        return "token visit" if visit is None else f"token visit {visit.number} at {who(moment.view, visit.node)}"

    def draw(self, moment: Moment, width: int, height: int) -> Drawing:  # noqa: D102
        if height < 4:
            return self._draw_short(moment, width, height)
        if width < COLUMNS_WIDTH:
            return self._draw_list(moment, width, height)
        visit = moment.view.visit or Visit(0, 0, 0)
        over = moment.view.token.how not in ("at", "held") and visit.stage == 4
        reached = 5 if over else visit.stage
        gap = 2
        column = (width - 1 - 3 * gap) // 4
        rows = height - 2
        bodies = (
            receive(visit, self.lit),
            retransmit(visit, moment.view),
            multicast(visit, moment.view, rows),
            update(visit, moment.view),
        )
        lines: list[Line] = [[(" ", PLAIN)] for _ in range(height)]
        for index, body in enumerate(bodies):
            stage = index + 1
            last = index == 3
            room = column + (0 if last else gap)
            name_role = TOKEN if stage == reached else HEAD if stage < reached else DIM
            lines[0] += cell([(NAMES[index], name_role)], room)
            lines[1] += cell(progress(stage, reached, column), room)
            for row in range(rows):
                lines[2 + row] += cell(clip(body[row], column) if row < len(body) else [], room)
        return Drawing(lines)

    def _draw_list(self, moment: Moment, width: int, height: int) -> Drawing:
        """One stage below the other, where a lesson leaves too little room for four columns."""
        visit = moment.view.visit or Visit(0, 0, 0)
        over = moment.view.token.how not in ("at", "held") and visit.stage == 4
        bodies = (
            receive(visit, self.lit),
            retransmit(visit, moment.view),
            multicast(visit, moment.view, 3),
            update(visit, moment.view),
        )
        lines: list[Line] = []
        for index, body in enumerate(bodies):
            stage = index + 1
            now = stage == visit.stage and not over
            role = NOW if now else TOKEN if stage <= visit.stage else DIM
            lines.append([(f" {NAMES[index]} " if now else f" {NAMES[index]}", role)])
            detail: Line = [("   ", PLAIN)]
            for row in body:
                detail += [(" ".join(text.split()) + " ", role) for text, role in row if text.strip()]
            lines.append(clip(detail, width))
        return Drawing(lines[:height])

    def _draw_short(self, moment: Moment, width: int, height: int) -> Drawing:
        visit = moment.view.visit
        if visit is None:
            return Drawing([[(" no token visit yet", DIM)]])
        over = moment.view.token.how not in ("at", "held") and visit.stage == 4
        line: Line = [(f" {who(moment.view, visit.node)}: ", HEAD)]
        for index, name in enumerate(NAMES):
            stage = index + 1
            now = stage == visit.stage and not over
            line.append((f" {name} " if now else name, NOW if now else TOKEN if stage <= visit.stage else DIM))
            if index < 3:
                line.append((" ━ " if stage < visit.stage or over else " ─ ", TOKEN if stage < visit.stage else FAINT))
        bodies = (
            receive(visit, self.lit),
            retransmit(visit, moment.view),
            multicast(visit, moment.view, 3),
            update(visit, moment.view),
        )
        detail: Line = [(" ", PLAIN)]
        for row in bodies[max(visit.stage, 1) - 1]:
            detail += [(text.strip() + (" " if role == DIM else ""), role) for text, role in row]
            detail.append(("   ", PLAIN))
        return Drawing([clip(line, width), clip(detail, width)][:height])
