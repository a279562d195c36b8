"""What people type about an intervention, made into its values; what is typed wrong is said with the mend."""

from __future__ import annotations

import re
import shlex
from typing import TypeVar, get_args

import msgspec

from totemviz.sim import interventions as do
from totemviz.sim.interventions import AnyIntervention
from totemviz.sim.interventions.base import Intervention
from totemviz.sim.interventions.confs import CLUSTER_FILE, HOST_FILE
from totemviz.sim.possible import VOTES_MAX
from totemviz.sim.quorum_tools import VOTES
from totemviz.sim.threads import HostModel
from totemviz.sim.toml_text import decode_duration, split_place
from totemviz.sim.units import Duration, Offset
from totemviz.tui.dialogs import EntryError

PLACE_FIELDS = Intervention.__struct_fields__
HERE = "here"

Kind = TypeVar("Kind")


def duration(text: str) -> Duration:
    """A duration as typed. Raises EntryError."""
    try:
        return Duration.parse(text)
    except ValueError as error:
        raise EntryError(str(error)) from None


def percentage(text: str) -> float:
    """A percentage as typed. Raises EntryError."""
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        raise EntryError(f"“{text.strip()}” is not a number; type 0 to 100") from None
    if not 0 <= value <= 100:
        raise EntryError(f"{value:g} is not a percentage; type 0 to 100")
    return value


def vote(text: str) -> str:
    """What the quorum device does, as typed. Raises EntryError."""
    word = text.strip().lower()
    if word not in VOTES:
        raise EntryError(f"“{text.strip()}” is no answer; type {', '.join(VOTES)}")
    return word


def votes(text: str) -> int:
    """A number of votes as typed. Raises EntryError."""
    if not re.fullmatch(r"[0-9]{1,3}", text.strip()) or not 1 <= int(text) <= VOTES_MAX:
        raise EntryError(f"“{text.strip()}” is no number of votes; type 1 to {VOTES_MAX}")
    return int(text)


def key_value(text: str) -> tuple[str, int]:
    """``token=1000`` as typed: a key of the totem section and its value. Raises EntryError."""
    found = re.fullmatch(r"\s*(?:totem\.)?([a-z_]+)\s*[=: ]\s*([0-9]{1,7})\s*", text)
    if not found:
        raise EntryError(f"“{text.strip()}” is not key=value; type e.g. token=1000")
    return found[1], int(found[2])


def conf_edit(node: int, text: str) -> do.EditConf:
    """``totem.token=2000`` as typed, with ``here`` behind it for the node's own file. Raises EntryError."""
    words = text.split()
    here = words[1:] == [HERE]
    key, equals, value = words[0].partition("=") if words else ("", "", "")
    if not equals or not (here or len(words) == 1):
        raise EntryError(f"“{text.strip()}” is not key=value; type e.g. totem.token=2000, or totem.token=2000 {HERE}")
    return do.EditConf(node=node, key=key, value=value, file=HOST_FILE if here else CLUSTER_FILE)


def clock(node: int, text: str) -> do.SkewClock:
    """``5min``, ``-70s`` or ``5min 200``: how far ahead, and the drift in ppm. Raises EntryError."""
    ahead, _, drift = text.strip().partition(" ")
    try:
        return do.SkewClock(node=node, ahead=Offset.parse(ahead), drift_ppm=int(drift.removesuffix("ppm") or 0))
    except ValueError:
        raise EntryError(f"“{text.strip()}” is no time; type e.g. 5min, -70s, 0s, or 0s 200 to gain 200 ppm") from None


def host_model(text: str) -> HostModel:
    """The name of a host model as typed. Raises EntryError."""
    try:
        return HostModel(text.strip().lower())
    except ValueError:
        raise EntryError(f"“{text.strip()}” is no host model; type {' or '.join(HostModel)}") from None


def filled(kind: type[Kind], text: str, **given: object) -> Kind:
    """``vmid=100 kind=lxc`` as typed, in the fields of an intervention, with those ``given``. Raises EntryError."""
    fields = [field for field in kind.__struct_fields__ if field not in (*PLACE_FIELDS, *given)]  # type: ignore[attr-defined]
    values = _fields(text)
    for field in values:
        if field not in fields:
            raise EntryError(f"there is no field “{field}” here; use {', '.join(fields)}")
    return _made(kind, {**values, **given})


def as_in_a_scenario(node: int, text: str) -> AnyIntervention:
    """``action=pause process=pmxcfs duration=5s`` as typed, on ``node`` unless it says another. Raises EntryError."""
    values = _fields(text)
    kind = {kind.__struct_config__.tag: kind for kind in get_args(AnyIntervention)}.get(values.pop("action", ""))
    if kind is None:
        raise EntryError("which action? type e.g. action=pause process=pmxcfs duration=5s; the README has the table")
    if "node" in kind.__struct_fields__:
        values.setdefault("node", str(node))
    made: AnyIntervention = filled(kind, shlex.join(f"{field}={value}" for field, value in values.items()))
    return made


def _fields(text: str) -> dict[str, str]:
    try:
        words = shlex.split(text)
    except ValueError:
        raise EntryError("a quotation mark is missing; write e.g. message='two words'") from None
    for word in words:
        if "=" not in word:
            raise EntryError(f"“{word}” is not field=value; type e.g. vmid=100")
    return dict(word.split("=", 1) for word in words)


def _made(kind: type[Kind], values: dict[str, object]) -> Kind:
    try:
        return msgspec.convert(values, kind, strict=False, dec_hook=decode_duration)
    except msgspec.ValidationError as error:
        what, place = split_place(str(error))
        raise EntryError(f"{place[0]}: {what}" if place else what) from None
