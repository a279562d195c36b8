"""What all interventions have in common: the moment they take effect, and their words."""

from __future__ import annotations

from typing import Self

import msgspec

from totemviz.sim.units import Duration


class Intervention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="action"):
    """Base of all interventions.

    One that was carried out has its exact place: after the event ``after_event`` and after ``after_step`` steps of the
    scheduler (many write no event). With -1 only the time counts.
    """

    at: Duration = Duration(0)
    after_event: int = -1
    after_step: int = -1

    def loosened(self) -> Self:
        """The same at the same time, wherever that is in another run."""
        return msgspec.structs.replace(self, after_event=-1, after_step=-1)

    @property
    def text(self) -> str:
        """What was done, in words."""
        raise NotImplementedError
