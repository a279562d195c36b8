"""The wall clock of a host, CLOCK_REALTIME: what ``date`` says, and how far it is off.

Corosync's timers run on the monotonic clock (libqb ``util.c: qb_util_nano_current_get``), so a ring does not notice a
clock that is set. What asks for the time of day does: log lines, pmxcfs with all it stamps and judges, the HA manager,
watchdog-mux. True time is the run's own, counted from an epoch.
"""

from __future__ import annotations

import msgspec

SECOND_NS = 1_000_000_000
MILLION = 1_000_000


class ClockSetting(msgspec.Struct, frozen=True, gc=False):
    """A clock that was set at ``since_ns`` of a run: ``ahead_ns`` before true time, gaining ``drift_ppm``.

    Both may be negative: behind, losing.
    """

    since_ns: int = 0
    ahead_ns: int = 0
    drift_ppm: int = 0

    def ahead_at(self, now_ns: int) -> int:
        """How many nanoseconds it is ahead of true time at a moment of the run."""
        if not self.drift_ppm:
            return self.ahead_ns
        return self.ahead_ns + (now_ns - self.since_ns) * self.drift_ppm // MILLION


RIGHT = ClockSetting()


class WallClock:
    """The clock of one host; right until it is set. ``epoch_s`` is true time at the beginning of the run.

    ``event`` is the one with which it was set last, -1 if it never was; ``step_ns`` how far it jumped then.
    """

    def __init__(self, epoch_s: int) -> None:
        self.setting = RIGHT
        self.event = -1
        self.step_ns = 0
        self._epoch_ns = epoch_s * SECOND_NS

    def set(self, setting: ClockSetting, event: int) -> None:
        """Step the clock, and let it run as the setting says."""
        self.step_ns = setting.ahead_ns - self.setting.ahead_at(setting.since_ns)
        self.setting, self.event = setting, event

    def misleads(self, age_s: int, now_ns: int) -> int:
        """By how many seconds something of this age looks older than it is, because the clock was set meanwhile."""
        was_set_meanwhile = self.event >= 0 and age_s > (now_ns - self.setting.since_ns) // SECOND_NS
        return self.step_ns // SECOND_NS if was_set_meanwhile else 0

    def at_ns(self, now_ns: int) -> int:
        """Nanoseconds since 1970 that the clock shows at a moment of the run."""
        return self._epoch_ns + now_ns + self.setting.ahead_at(now_ns)

    def at_s(self, now_ns: int) -> int:
        """The same in whole seconds, as ``time()`` gives it."""
        return self.at_ns(now_ns) // SECOND_NS
