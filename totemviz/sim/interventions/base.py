"""What all interventions have in common: the moment they take effect, and their words."""

from __future__ import annotations

import msgspec

from totemviz.sim.units import Duration


class Intervention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="action"):
    """Base of all interventions. ``after_event`` -1: only the time counts."""

    at: Duration = Duration(0)
    after_event: int = -1

    @property
    def text(self) -> str:
        """What was done, in words."""
        raise NotImplementedError
