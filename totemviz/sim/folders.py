"""Where things are kept between two sittings: what the program notes for itself, and what the user sets.

Outside any run: nothing here touches a world.
"""

from __future__ import annotations

import os
from pathlib import Path

APPLICATION = "totemviz"


def state_folder() -> Path:
    """What the program keeps: progress in lessons, measured disks, the last run. ``TOTEMVIZ_STATE_DIR`` moves it."""
    if folder := os.environ.get("TOTEMVIZ_STATE_DIR"):
        return Path(folder)
    import platformdirs  # noqa: PLC0415 - not needed in headless runs

    return Path(platformdirs.user_data_dir(APPLICATION, appauthor=False))


def last_session_file() -> Path:
    """The session as it was when the cockpit was last left."""
    return state_folder() / "last-session.toml"


def settings_file() -> Path:
    """What the user sets. ``TOTEMVIZ_CONFIG`` names another file."""
    if file := os.environ.get("TOTEMVIZ_CONFIG"):
        return Path(file)
    import platformdirs  # noqa: PLC0415

    return Path(platformdirs.user_config_dir(APPLICATION, appauthor=False)) / "config.toml"


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is always either the old one or the new one. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
