"""The cockpit: a terminal screen on which a cluster can be watched, stepped and disturbed.

How it works, in the order a keypress takes. ``keys.py`` is the table of all keys; bindings, footer, help and palette
are made from it. ``app.py`` and its base classes turn a key into a move of the session's cursor (``travel.py``:
steps, jumps, playing, stops, and the boot, which runs on screen), into an intervention handed to the session
(``changing.py``; ``faults.py`` is the table of faults, ``typed.py`` reads what is typed for one, ``linkdialog.py``
has the sliders of links) or into something done with what came of one (``branching.py``: branches, undo, what if not,
comparing, sharing). What takes long is done in instalments behind a bar (``progress.py``). Then every panel is shown
the same ``Moment`` (``moment.py``): the session, the clock on screen, the chosen node. The app decides nothing about
protocols, and panels hold no state of the cluster: all they draw is read from the ``ClusterView`` at the cursor, so a
simulation, a lesson and a recording are one screen.

A panel is one file: ``ring`` (over ``circle``, where its nodes lie, and ``links``, what is cut or lossy), ``strip``
(the ring in a line, for small terminals), ``stages``, ``writes``, ``nodes``, ``spacetime`` (over ``stretch``, which
cuts a stretch of the run into instants, and ``lifelines``), ``eventlist``, ``log`` (with what a line means), ``bytes``
(with ``layers``), ``code`` (over ``source`` and ``counterparts``: our function and its namesake), ``files``, ``why``
(over ``whygraph``), ``inspector`` (over ``nodedisk``), ``scrubber``, ``header``, ``footer``. Its ``draw`` returns plain
lines of (text, role) pairs (``paint.py``) for a width and a height; what a role looks like is the theme's business
(``theme.py``). The base class (``panel.py``) compares the lines with those on screen and repaints only rows that
differ, so one step costs little however much is on the screen; lists draw only the lines in sight.

Only what a step changed is lit: a panel names what it draws, and ``lit.py`` knows what stood there one position ago.
No meaning hangs on colour alone. Three layouts (80×24, 120×40, 200×60) are style rules in ``cockpit.tcss``. Nothing
runs while nothing plays; ``player.py`` pays out virtual time in instalments, with fewer frames than steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.widget import Widget

    from totemviz.lessons.format import Lesson
    from totemviz.sim.session import Session


def run_cockpit(session: Session, lesson: Widget | None = None) -> None:
    """Open the cockpit on a session and stay until the user leaves. ``lesson`` docks at the right."""
    from totemviz.tui.app import run_cockpit as run  # noqa: PLC0415 - Textual is loaded only when a screen is wanted

    run(session, lesson)


def run_lesson(lesson: Lesson) -> None:
    """Open the cockpit with a lesson, where it was left."""
    from totemviz.tui.lesson_cockpit import run_lesson as run  # noqa: PLC0415

    run(lesson)
