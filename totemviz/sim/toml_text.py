"""What people write in TOML, read strictly: every error names its line.

Scenarios, lessons and settings are such files.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from totemviz.sim.units import Duration

Form = TypeVar("Form")


class TomlError(ValueError):
    """What is wrong, behind the number of the line on which it stands."""


def line_of(text: str, place: list[str]) -> int:
    """Line in the TOML where a place like ['interventions', '1', 'node'] stands; its table's, or 1, if it is absent."""
    header: list[str] = []
    counts: dict[str, int] = {}
    best = 1
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if match := re.match(r"\[\[\s*([\w.\-]+)\s*\]\]", stripped):
            name = match[1]
            counts[name] = counts.get(name, -1) + 1
            header = [*name.split("."), str(counts[name])]
        elif match := re.match(r"\[\s*([\w.\-]+)\s*\]", stripped):
            header = match[1].split(".")
        elif match := re.match(r"([\w\-\"']+)\s*=", stripped):
            key = [*header, match[1].strip("\"'")]
            if key == place[: len(key)]:
                return number
            continue
        else:
            continue
        if header == place[: len(header)]:
            best = number
    return best


def read(
    text: str,
    form: type[Form],
    mend: Callable[[str], str],
    line_of: Callable[[str, list[str]], int] = line_of,
) -> Form:
    """A TOML text as a struct of this form; durations are text with a unit.

    Raises TomlError; to what does not fit the form ``mend`` adds what may be written there instead, given what is
    wrong. ``line_of`` finds the line of a place such as ['interventions', '1', 'node'].
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        line = match[1] if match else str(text.count("\n") + 1)
        what = re.sub(r"\s*\(at .*\)", "", str(error))
        raise TomlError(f"{line}: {what}; mend the TOML") from None
    try:
        return msgspec.convert(tree, form, dec_hook=decode_duration)
    except msgspec.ValidationError as error:
        what, place = split_place(str(error))
        raise TomlError(f"{line_of(text, place)}: {what}{mend(what)}") from None


def decode_duration(kind: type, value: Any) -> Any:
    """Hook for msgspec: durations are text with a unit. Raises ValueError that says so."""
    if not issubclass(kind, Duration):
        raise NotImplementedError
    if not isinstance(value, str):
        raise ValueError(f"{value!r} needs a unit, e.g. 250ms or 6s")
    return kind.parse(value)


def split_place(message: str) -> tuple[str, list[str]]:
    """Take a message of msgspec apart.

    '… - at `$.interventions[1].node`' gives ('…', ['interventions', '1', 'node']).
    """
    what, _, where = message.partition(" - at ")
    place = re.findall(r"[A-Za-z_][A-Za-z_0-9]*|\d+", where.strip("`").removeprefix("$"))
    if match := re.search(r"unknown field `(.*)`", what):
        place.append(match[1])
    return what, place
