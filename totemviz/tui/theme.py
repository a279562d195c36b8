"""Five calm themes of our own, and how every role of a drawing looks in these and in any other theme.

One accent for the token, one colour for trouble, one for what the user did; everything else is grey. No meaning hangs
on colour alone: NO_COLOR and monochrome terminals read the shapes, bold and underline. The ``safe`` themes keep to
colours that people with any kind of colour blindness tell apart (yellow, orange, sky blue and bluish green); they
differ in lightness too.

A role is looked up in the colours of the present theme, so Textual's own themes work as well as these.
"""

from __future__ import annotations

from rich.style import Style
from textual.color import Color
from textual.theme import Theme

from totemviz.tui import paint


def _theme(name: str, *, dark: bool, token: str, you: str, error: str, success: str, **variables: str) -> Theme:
    """A theme from few colours; ``variables`` are the greys: foreground, head, dim, faint, frame, … ground first."""
    return Theme(
        name=name,
        primary=token,
        secondary=you,
        accent=token,
        warning=token,
        error=error,
        success=success,
        foreground=variables["foreground"],
        background=variables["background"],
        surface=variables["surface"],
        panel=variables["panel"],
        dark=dark,
        variables={
            "frame": variables["frame"],
            "frame-title": variables["title"],
            "border": token,
            "input-cursor-background": variables["foreground"],
            "input-selection-background": variables["selection"],
            "dim": variables["dim"],
            "faint": variables["faint"],
            "head": variables["head"],
            "lit": variables["lit"],
            "lit-ground": variables["lit_ground"],
        },
    )


_DARK_GREYS = {
    "foreground": "#d5dae1",
    "background": "#10151c",
    "surface": "#161c25",
    "panel": "#1c2430",
    "head": "#eef1f5",
    "dim": "#919cab",
    "faint": "#5d6977",
    "frame": "#33404f",
    "title": "#9aa5b3",
    "selection": "#33404f",
    "lit": "#ffffff",
    "lit_ground": "#2c3a4b",
}
_LIGHT_GREYS = {
    "foreground": "#20262e",
    "background": "#faf8f3",
    "surface": "#f3f0e8",
    "panel": "#ebe6da",
    "head": "#0c1116",
    "dim": "#555d68",
    "faint": "#908877",
    "frame": "#c4bcab",
    "title": "#555d68",
    "selection": "#d9d2c2",
    "lit": "#000000",
    "lit_ground": "#e3dcc9",
}
_CONTRAST_GREYS = {
    "foreground": "#ffffff",
    "background": "#000000",
    "surface": "#000000",
    "panel": "#1a1a1a",
    "head": "#ffffff",
    "dim": "#d0d0d0",
    "faint": "#8a8a8a",
    "frame": "#a0a0a0",
    "title": "#ffffff",
    "selection": "#404040",
    "lit": "#ffffff",
    "lit_ground": "#404040",
}

DARK = _theme(
    "totemviz-dark", dark=True, token="#ffb454", you="#59c2ff", error="#ff7a70", success="#9fca8a", **_DARK_GREYS
)
LIGHT = _theme(
    "totemviz-light", dark=False, token="#8a5200", you="#0a5fa6", error="#ad241c", success="#2f6b22", **_LIGHT_GREYS
)
SAFE_DARK = _theme(
    "totemviz-safe-dark", dark=True, token="#f0e442", you="#56b4e9", error="#ff8c42", success="#2fc79b", **_DARK_GREYS
)
SAFE_LIGHT = _theme(
    "totemviz-safe-light",
    dark=False,
    token="#6b5d00",
    you="#00578a",
    error="#a64200",
    success="#00664a",
    **_LIGHT_GREYS,
)
CONTRAST = _theme(
    "totemviz-contrast",
    dark=True,
    token="#ffff00",
    you="#66ccff",
    error="#ff8080",
    success="#80ff80",
    **_CONTRAST_GREYS,
)

THEMES = (DARK, LIGHT, SAFE_DARK, SAFE_LIGHT, CONTRAST)

_looks: dict[tuple[str, str], Style] = {}


def look(role: str, theme: Theme) -> Style:
    """The Rich style of a role in a theme, with a ground if one is added to it (``token@cursor``)."""
    style = _looks.get((theme.name, role))
    if style is None:
        styles = _styles(theme)
        name, sign, ground = role.partition("@")
        style = _looks[theme.name, role] = styles[name] + styles[sign + ground] if sign else styles[name]
    return style


def _styles(theme: Theme) -> dict[str, Style]:
    """Every role's style, from the theme's colours; what a theme does not name is mixed from what it does."""
    made_up = theme.to_color_system().generate()

    def named(name: str) -> Color:
        # made-up colours may carry an opacity ("#d5dae1 80%") that plain text does not need
        return Color.parse(getattr(theme, name) or made_up[name].split(maxsplit=1)[0])

    ground, text, panel = named("background"), named("foreground"), named("panel")
    token, trouble, you, good = named("accent"), named("error"), named("secondary"), named("success")

    def grey(name: str, share: float) -> Color:
        value = theme.variables.get(name)
        if value is not None:
            return Color.parse(value)
        return text if theme.ansi else ground.blend(text, share)

    marked = Style(reverse=True) if theme.ansi else _style(grey("lit", 1.0), grey("lit-ground", 0.2))
    fainter = Style(dim=theme.ansi or None)
    strong = 0.15 if theme.dark else 0.13  # more, and dim words could not be read on it
    grounds = {
        paint.ON_CURSOR: grey("lit-ground", 0.2).blend(ground, 0.3),
        paint.ON_TROUBLE: ground.blend(trouble, strong),
        paint.ON_FORMING: ground.blend(you, strong),
        paint.ON_BLOCKED: ground.blend(token, strong),
    }
    bold, underline, reverse = Style(bold=True), Style(underline=True), Style(reverse=True)
    return {
        paint.PLAIN: _style(text),
        paint.DIM: _style(grey("dim", 0.6)) + fainter,
        paint.FAINT: _style(grey("faint", 0.3)) + fainter,
        paint.HEAD: _style(grey("head", 1.0)) + bold,
        paint.TOKEN: _style(token) + bold,
        paint.TROUBLE: _style(trouble) + bold,
        paint.YOU: _style(you),
        paint.GOOD: _style(good),
        paint.CHANGED: marked + bold + underline,
        paint.NOW: (_style(token) + reverse if theme.ansi else _style(ground, token)) + bold,
        paint.KEY: _style(you) + bold,
        paint.CURSOR: marked + bold,
        paint.CURSOR_DIM: _style(text, None if theme.ansi else panel),
        paint.CHOSEN: _style(text) + bold + reverse,
        **{name: Style() if theme.ansi else Style(bgcolor=mixed.rich_color) for name, mixed in grounds.items()},
    }


def _style(foreground: Color, background: Color | None = None) -> Style:
    return Style(color=foreground.rich_color, bgcolor=background.rich_color if background is not None else None)
