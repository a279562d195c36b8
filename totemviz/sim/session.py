"""A session: one timeline somebody looks at, with a cursor, and what makes the timeline longer if anything does.

The cockpit and the lessons talk to a ``Session`` only; a simulation and a recording differ in whether it can grow and
be intervened in.
"""

from __future__ import annotations

from totemviz.sim.interventions import AnyIntervention
from totemviz.trace.cursor import Cursor, Step
from totemviz.trace.timeline import Timeline


class Session:
    """A finished timeline: a recording, or a run loaded from a file."""

    can_intervene = False

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.cursor = Cursor(timeline)

    def forward(self, step: Step) -> bool:
        """Move the cursor to where the next such step ends; False if there is none."""
        found = self.cursor.find(step)
        if found is None:
            return False
        self.cursor.move_to(found)
        return True

    def back(self, step: Step) -> bool:
        """Move the cursor to where the previous such step ended; False if there was none."""
        found = self.cursor.find(step, backward=True)
        if found is None:
            return False
        self.cursor.move_to(found)
        return True

    def advance(self, duration_ns: int) -> bool:
        """Let virtual time pass from the cursor; False at the end of the timeline."""
        until_ns = self.cursor.view.time_ns + duration_ns
        self.cursor.seek_time(until_ns)
        return not self.cursor.at_end

    def intervene(self, intervention: AnyIntervention) -> None:
        """Do something to the cluster at the cursor. Raises RuntimeError where nothing can be done (recordings)."""
        raise RuntimeError("this is a recording: nothing in it can be changed")
