"""Playing: virtual time that follows the wall clock at a chosen speed, with fewer frames than steps.

The player owes the session an amount of virtual time and pays it in instalments, as long as a frame allows. A machine
too slow for the speed simply falls behind; it never freezes the screen.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from totemviz.sim.session import Session, Simulation
from totemviz.sim.units import MS
from totemviz.trace.cursor import Step
from totemviz.trace.words import SECOND, US

_SLOW = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
SPEEDS = (*_SLOW, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
FRAMES_PER_SECOND = 12
BUDGET_S = 0.045
GAP_MAX_S = 0.25
IDLE_NS = 20 * MS
"""Idleness shorter than this is not worth a jump."""


def time_of(session: Session) -> int:
    """Virtual time at the cursor, in nanoseconds: in a simulation it may be later than the last event."""
    return session.cursor_time_ns if isinstance(session, Simulation) else session.cursor.view.time_ns


class Player:
    """Advances a session in step with a clock that is given to it (seconds), at the speed nearest to ``speed``."""

    def __init__(self, now_s: Callable[[], float], speed: float = 1.0) -> None:
        self._now_s = now_s
        self.speed_index = min(range(len(SPEEDS)), key=lambda index: abs(math.log(SPEEDS[index] / speed)))
        self.playing = False
        self.backward = False
        self.skips_idle = False
        self.time_ns = 0
        self._last_s = 0.0
        self._instalment_ns = 100 * US

    @property
    def speed(self) -> float:
        """Virtual seconds per second."""
        return SPEEDS[self.speed_index]

    def change_speed(self, steps: int) -> None:
        """Faster or slower, within the limits."""
        self.speed_index = max(0, min(len(SPEEDS) - 1, self.speed_index + steps))

    def start(self, time_ns: int, *, backward: bool = False) -> None:
        """Play on from this virtual time, or back."""
        self.playing = True
        self.backward = backward
        self.time_ns = time_ns
        self._last_s = self._now_s()

    def stop(self) -> None:
        """Pause."""
        self.playing = False

    def frame(self, session: Session) -> bool:
        """Let the time since the last frame pass; False when a finished run has come to its end."""
        began_s = self._now_s()
        passed_s = min(GAP_MAX_S, began_s - self._last_s)
        self._last_s = began_s
        owed_ns = int(passed_s * self.speed * SECOND)
        if self.backward:
            more = session.retreat(owed_ns)
            self.time_ns = time_of(session)
            return more
        if self.skips_idle:
            self._skip_idle(session)
        target_ns = self.time_ns + owed_ns
        while self.time_ns < target_ns:
            before_s = self._now_s()
            if before_s - began_s > BUDGET_S:
                break  # too fast for this machine: fall behind
            self.time_ns = min(target_ns, self.time_ns + self._instalment_ns)
            more = session.advance(max(0, self.time_ns - time_of(session)))
            if session.halt is not None:
                self.time_ns = time_of(session)
                return False
            took_s = self._now_s() - before_s
            if took_s < BUDGET_S / 8:
                self._instalment_ns *= 2
            elif took_s > BUDGET_S / 2:
                self._instalment_ns = max(US, self._instalment_ns // 4)
            if not session.can_intervene and not more and session.cursor.at_end:
                return False
        return True

    def _skip_idle(self, session: Session) -> None:
        """If nothing but idle rounds lies ahead for a while, go to where they end."""
        found = session.cursor.find(Step.EVENTFUL)
        if found is None:
            session.forward(Step.EVENTFUL)
        elif session.timeline[found].time_ns - self.time_ns > IDLE_NS:
            session.cursor.move_to(found - 1)
        self.time_ns = max(self.time_ns, time_of(session))
