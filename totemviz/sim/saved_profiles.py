"""Disk profiles a person measured: one TOML file each in the user's data folder, named like the built-in ones.

``TOTEMVIZ_STATE_DIR`` names another folder. A built-in name cannot be taken.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec

from totemviz.sim.folders import state_folder, write_whole
from totemviz.sim.profiles import PROFILES, DiskProfile

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")


class ProfileError(ValueError):
    """A profile that cannot be used or kept: one line with the mend."""


def folder() -> Path:
    """Where measured profiles are kept."""
    return state_folder() / "disks"


def save(profile: DiskProfile) -> Path:
    """Keep a profile under its name, an older one of that name is replaced. Raises ProfileError, OSError."""
    import tomlkit  # noqa: PLC0415

    check_name(profile.name)
    path = folder() / f"{profile.name}.toml"
    write_whole(path, tomlkit.dumps(msgspec.to_builtins(profile)))
    return path


def check_name(name: str) -> None:
    """Raises ProfileError for a name that no saved profile can have."""
    if name in PROFILES:
        raise ProfileError(f"{name} is a built-in disk; choose another name")
    if not _NAME.fullmatch(name):
        raise ProfileError(f"{name!r} cannot name a disk; use letters, digits, '-', '_' and '.', at most 40")


def known() -> list[str]:
    """Names a scenario can use: the built-in ones, then what was saved."""
    return [*PROFILES, *sorted(path.stem for path in folder().glob("*.toml"))]


def find(name: str) -> DiskProfile:
    """The built-in or saved profile of this name. Raises ProfileError that says which there are."""
    if name in PROFILES:
        return PROFILES[name]
    path = folder() / f"{name}.toml"
    if not _NAME.fullmatch(name) or not path.is_file():
        raise ProfileError(f"unknown disk {name!r}; use one of {', '.join(known())}")
    try:
        profile = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), DiskProfile)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ProfileError(f"{path}: not a disk profile ({error}); measure again with totemviz disk") from None
    if not 0 < profile.sync_median_ns <= profile.sync_p99_ns or profile.stall_max_ns < profile.stall_min_ns:
        raise ProfileError(f"{path}: its latencies contradict each other; measure again with totemviz disk")
    return msgspec.structs.replace(profile, name=name)
