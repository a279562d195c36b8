"""Two calm themes of our own, and the look of every role.

One accent for the token (amber), one for trouble (red), one for what the user did (blue); everything else is grey. No
meaning hangs on colour alone: NO_COLOR and monochrome terminals read the shapes, bold and underline.
"""

from __future__ import annotations

from functools import lru_cache

from rich.style import Style
from textual.theme import Theme

from totemviz.tui import paint

DARK = Theme(
    name="totemviz-dark",
    primary="#ffb454",
    secondary="#59c2ff",
    accent="#ffb454",
    warning="#ffb454",
    error="#ff7a70",
    success="#9fca8a",
    foreground="#d5dae1",
    background="#10151c",
    surface="#161c25",
    panel="#1c2430",
    dark=True,
    variables={
        "frame": "#33404f",
        "frame-title": "#9aa5b3",
        "border": "#ffb454",
        "input-cursor-background": "#d5dae1",
        "input-selection-background": "#33404f",
    },
)

LIGHT = Theme(
    name="totemviz-light",
    primary="#8a5200",
    secondary="#0a5fa6",
    accent="#8a5200",
    warning="#8a5200",
    error="#b3261e",
    success="#2f6b22",
    foreground="#20262e",
    background="#faf8f3",
    surface="#f3f0e8",
    panel="#ebe6da",
    dark=False,
    variables={
        "frame": "#c4bcab",
        "frame-title": "#5d6570",
        "border": "#8a5200",
        "input-cursor-background": "#20262e",
        "input-selection-background": "#d9d2c2",
    },
)

# role: (dark, light)
_LOOKS: dict[str, tuple[str, str]] = {
    paint.PLAIN: ("#d5dae1", "#20262e"),
    paint.DIM: ("#8b96a5", "#626b77"),
    paint.FAINT: ("#46525f", "#b9b1a1"),
    paint.HEAD: ("bold #eef1f5", "bold #0c1116"),
    paint.TOKEN: ("bold #ffb454", "bold #8a5200"),
    paint.TROUBLE: ("bold #ff7a70", "bold #b3261e"),
    paint.YOU: ("#59c2ff", "#0a5fa6"),
    paint.GOOD: ("#9fca8a", "#2f6b22"),
    paint.CHANGED: ("bold underline #ffffff on #2c3a4b", "bold underline #000000 on #e3dcc9"),
    paint.NOW: ("bold #10151c on #ffb454", "bold #faf8f3 on #8a5200"),
    paint.KEY: ("bold #59c2ff", "bold #0a5fa6"),
    paint.CURSOR: ("bold #ffffff on #2c3a4b", "bold #000000 on #e3dcc9"),
    paint.CURSOR_DIM: ("#d5dae1 on #1c2430", "#20262e on #ebe6da"),
    paint.CHOSEN: ("bold reverse #d5dae1", "bold reverse #20262e"),
}

# grounds that may lie under any role: (dark, light)
_GROUNDS: dict[str, tuple[str, str]] = {
    paint.ON_CURSOR: ("#222d3b", "#ece5d3"),
    paint.ON_TROUBLE: ("#3d2226", "#f6d9d3"),
    paint.ON_FORMING: ("#1d3142", "#d8e6f1"),
    paint.ON_BLOCKED: ("#40341a", "#f3e3bd"),
}


@lru_cache(maxsize=128)
def look(role: str, dark: bool) -> Style:
    """The Rich style of a role, with a ground if one is added to it (``token@cursor``)."""
    name, sign, ground = role.partition("@")
    style = Style.parse(_LOOKS[name][0 if dark else 1])
    return style + Style(bgcolor=_GROUNDS[sign + ground][0 if dark else 1]) if sign else style
