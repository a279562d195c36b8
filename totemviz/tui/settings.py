"""What the user sets: one small TOML file, and environment variables that win over it.

```toml
theme = "totemviz-dark"       # any theme of the palette
speed = 1.0                   # virtual seconds per second when a run plays
tour = true                   # offer the tour to a newcomer

[keys]                        # id of a command = keys, in Textual's names, separated by commas
"stage.next" = "right,l,j"
```

``totemviz config`` prints where the file is, what is in force, and the id of every command. ``TOTEMVIZ_THEME``,
``TOTEMVIZ_SPEED`` and ``TOTEMVIZ_TOUR`` win over the file; ``NO_COLOR`` is honoured. Whatever is wrong is one line with
file, line and mend.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from totemviz.sim.folders import settings_file
from totemviz.sim.toml_text import TomlError, line_of, read
from totemviz.tui.keys import KEYS, Key

SPEED_MIN, SPEED_MAX = 0.0001, 1000.0


class SettingsError(ValueError):
    """Settings that cannot be used: one line with file, line and mend."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings in force. ``keys`` maps a command's id to its keys."""

    theme: str = "totemviz-dark"
    speed: Annotated[float, msgspec.Meta(ge=SPEED_MIN, le=SPEED_MAX)] = 1.0
    tour: bool = True
    keys: dict[str, str] = {}


def load_settings(path: Path | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of a file (the user's own if none is named) under those of the environment.

    A file that does not exist sets nothing. Raises SettingsError, OSError.
    """
    path = path or settings_file()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        text = ""
    except UnicodeDecodeError:
        raise SettingsError(f"{path}:1: not a text file; settings are TOML") from None
    return _with_environment(parse_settings(text, str(path)), environment)


def parse_settings(text: str, name: str) -> Settings:
    """Read the TOML of a settings file; ``name`` is for messages. Raises SettingsError."""
    fields = ", ".join(Settings.__struct_fields__)
    try:
        settings = read(text, Settings, lambda _: f"; the settings are {fields}")
    except TomlError as error:
        raise SettingsError(f"{name}:{error}") from None
    for key_id in settings.keys:
        if problem := _key_problem(settings.keys, key_id):
            raise SettingsError(f"{name}:{_line_of_key(text, key_id)}: {problem}")
    return settings


def remapped(keymap: Mapping[str, str]) -> tuple[Key, ...]:
    """All commands with the user's keys instead of ours, shown as they are to be pressed."""
    return tuple(
        key._replace(keys=keymap[key.id], shown=keymap[key.id].split(",")[0].strip()) if key.id in keymap else key
        for key in KEYS
    )


def _with_environment(settings: Settings, environment: Mapping[str, str]) -> Settings:
    changes: dict[str, object] = {}
    for field, kind in (("theme", str), ("speed", float), ("tour", bool)):
        name = f"TOTEMVIZ_{field.upper()}"
        if not (text := environment.get(name)):
            continue
        try:
            changes[field] = msgspec.convert(text, kind, strict=False)
        except msgspec.ValidationError:
            raise SettingsError(f"{name}={text}: not a {_WORDS[field]}") from None
    if (speed := changes.get("speed")) is not None and not SPEED_MIN <= float(str(speed)) <= SPEED_MAX:
        raise SettingsError(f"TOTEMVIZ_SPEED={speed}: give a number between {SPEED_MIN:g} and {SPEED_MAX:g}")
    return msgspec.structs.replace(settings, **changes) if changes else settings


_WORDS = {"speed": "number such as 0.01", "tour": "yes or no: give true or false", "theme": "name"}


def _key_problem(keymap: Mapping[str, str], key_id: str) -> str:
    known = {key.id: key for key in KEYS}
    if key_id not in known:
        return f"there is no command {key_id!r}; totemviz config lists them"
    wanted = [part.strip() for part in keymap[key_id].split(",")]
    if not all(wanted):
        return f"{key_id!r} has an empty key; write keys as 'right,l', or leave the line out"
    taken = {
        part.strip(): other.id
        for other in KEYS
        if other.id != key_id
        for part in keymap.get(other.id, other.keys).split(",")
    }
    for part in wanted:
        if not is_key_name(part):
            return f"there is no key {part!r}; write a letter, f5, home, ctrl+s, or a sign by its name: full_stop"
        if part in taken:
            return f"{part!r} is already the key of {taken[part]!r}; give that another key too"
    return ""


def is_key_name(name: str) -> bool:
    """Whether a terminal can send such a key, in Textual's names."""
    from textual.keys import KEY_TO_UNICODE_NAME, Keys  # noqa: PLC0415 - only who sets keys needs the list

    *modifiers, key = name.split("+")
    known = {*KEY_TO_UNICODE_NAME, *Keys, "space", *(part for own in KEYS for part in own.keys.split(","))}
    return set(modifiers) <= {"ctrl", "shift", "alt", "super"} and ((len(key) == 1 and key.isalnum()) or key in known)


def _line_of_key(text: str, key_id: str) -> int:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip().startswith((f'"{key_id}"', f"'{key_id}'", f"{key_id} ", f"{key_id}=")):
            return number
    return line_of(text, ["keys"])


def template() -> str:
    """A settings file with everything in it, commented out."""
    default = Settings()
    lines = [
        "# Settings of totemviz. Take away a # to set something.",
        f'# theme = "{default.theme}"',
        f"# speed = {default.speed}",
        f"# tour = {str(default.tour).lower()}",
        "",
        "[keys]",
        *(f'# "{key.id}" = "{key.keys}"'.ljust(48) + f"# {key.help}" for key in KEYS),
    ]
    return "\n".join(lines) + "\n"
