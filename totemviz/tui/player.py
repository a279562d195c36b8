"""Playing: virtual time that follows the wall clock at a chosen speed, with fewer frames than steps.

The player owes the session an amount of virtual time and pays it in instalments, as long as a frame allows. A machine
too slow for the speed simply falls behind; it never freezes the screen, and ``achieved`` tells how fast it is. At the
speed ``FASTEST`` it owes without limit. Backwards any way is equally short, so there it goes as many events in a frame
as it may take to go forward over them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from totemviz.sim.session import Session, Simulation
from totemviz.sim.units import MS
from totemviz.trace.cursor import Step
from totemviz.trace.idle import is_idle
from totemviz.trace.words import SECOND, US

_SLOW = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
FASTEST = math.inf
SPEEDS = (*_SLOW, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, FASTEST)
FRAMES_PER_SECOND = 12
BUDGET_S = 0.045
GAP_MAX_S = 0.25
IDLE_NS = 20 * MS
"""Idleness shorter than this is not worth a jump."""

INSTALMENT_MAX_NS = SECOND
"""A cluster in which nothing happens any more would run into the end of days."""

MEASURED_S = 1.0
"""The speed achieved is that of the last second."""

BACK_EVENTS = 10_000
"""Events a frame goes back at the speed FASTEST: what a frame going forward can take in."""


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
        self._frames: deque[tuple[float, int]] = deque()

    @property
    def achieved(self) -> float:
        """Virtual seconds per second in the last second of playing, backwards too; 0 before there is a second frame."""
        if len(self._frames) < 2:
            return 0.0
        (first_s, first_ns), (last_s, last_ns) = self._frames[0], self._frames[-1]
        return abs(last_ns - first_ns) / SECOND / max(1e-9, last_s - first_s)

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
        self._frames.clear()
        self._frames.append((self._last_s, time_ns))

    def stop(self) -> None:
        """Pause."""
        self.playing = False

    def frame(self, session: Session) -> bool:
        """Let the time since the last frame pass; False when a finished run has come to its end."""
        began_s = self._now_s()
        passed_s = min(GAP_MAX_S, began_s - self._last_s)
        self._last_s = began_s
        more = self._back(session, passed_s) if self.backward else self._on(session, began_s, passed_s)
        self._frames.append((began_s, self.time_ns))
        while began_s - self._frames[0][0] > MEASURED_S and len(self._frames) > 2:
            self._frames.popleft()
        return more

    def _back(self, session: Session, passed_s: float) -> bool:
        if self.skips_idle:
            self._skip_idle_back(session)
        if self.speed == FASTEST:
            target = session.timeline[max(0, session.cursor.position - BACK_EVENTS)] if len(session.timeline) else None
            owed_ns = session.cursor_time_ns - target.time_ns if target is not None else 0
        else:
            owed_ns = int(passed_s * self.speed * SECOND)
        more = session.retreat(max(1, owed_ns))
        self.time_ns = session.cursor_time_ns
        return more

    def _on(self, session: Session, began_s: float, passed_s: float) -> bool:
        if self.skips_idle:
            self._skip_idle(session)
        unlimited = self.speed == FASTEST
        target_ns = 0 if unlimited else self.time_ns + int(passed_s * self.speed * SECOND)
        while unlimited or self.time_ns < target_ns:
            before_s = self._now_s()
            if before_s - began_s > BUDGET_S:
                break  # too fast for this machine: fall behind
            paid_ns = self.time_ns + self._instalment_ns
            self.time_ns = paid_ns if unlimited else min(target_ns, paid_ns)
            more = session.advance(max(0, self.time_ns - time_of(session)))
            if session.halt is not None:
                self.time_ns = time_of(session)
                return False
            took_s = self._now_s() - before_s
            if took_s < BUDGET_S / 8:
                self._instalment_ns = min(INSTALMENT_MAX_NS, 2 * self._instalment_ns)
            elif took_s > BUDGET_S / 2:
                self._instalment_ns = max(US, self._instalment_ns // 4)
            if not session.can_intervene and not more and session.cursor.at_end:
                self.time_ns = time_of(session)
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

    def _skip_idle_back(self, session: Session) -> None:
        """The same towards the past: silence and idle rounds, back to what happened before them."""
        cursor = session.cursor
        eventful = cursor.event is not None and not is_idle(cursor.event)
        found = cursor.position if eventful else cursor.find(Step.EVENTFUL, backward=True)
        if found is not None:
            idle_ns = session.cursor_time_ns - session.timeline[found].time_ns
            if idle_ns > IDLE_NS:
                session.retreat(idle_ns)
