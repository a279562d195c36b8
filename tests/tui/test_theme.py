"""Every role can be read in every theme there is."""

from __future__ import annotations

import pytest
from rich.color import Color
from textual.theme import BUILTIN_THEMES

from totemviz.tui import paint
from totemviz.tui.theme import THEMES, look

ROLES = [
    value
    for name, value in vars(paint).items()
    if name.isupper() and isinstance(value, str) and len(value) > 2 and value[0] != "@"
]
GROUNDS = [value for name, value in vars(paint).items() if name.startswith("ON_")]
MARKS = {paint.FAINT}
"""Marks and what has not happened yet: it stands back, but it can be seen."""


def luminance(colour: Color) -> float:
    """Relative luminance (WCAG 2)."""
    parts = [part / 255 for part in colour.get_truecolor()]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Color, other: Color) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [*THEMES, *BUILTIN_THEMES.values()], ids=lambda theme: theme.name)
def test_every_role_has_a_look(theme):
    for role in ROLES:
        assert look(role, theme).color is not None or look(role, theme).reverse


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_text_stands_out_from_its_ground(theme):
    for role in ROLES:
        style = look(role, theme)
        grounds = [style.bgcolor] if style.bgcolor else [Color.parse(theme.background), Color.parse(theme.surface)]
        for ground in grounds:
            assert contrast(style.color, ground) >= (3.0 if role in MARKS else 4.5), role


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_text_can_be_read_on_every_ground(theme):
    for role in ROLES:
        if role in MARKS or look(role, theme).bgcolor is not None:
            continue  # it stands on its own ground
        assert contrast(look(role, theme).color, Color.parse(theme.panel)) >= 4.5, role
        for name in GROUNDS:
            style = look(role + name, theme)
            assert contrast(style.color, style.bgcolor) >= 4.5, role + name


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_token_trouble_and_yours_differ_in_more_than_hue(theme):
    token, trouble, you = (look(role, theme) for role in (paint.TOKEN, paint.TROUBLE, paint.YOU))
    assert token.color != trouble.color != you.color
    assert token.bold
    assert trouble.bold
    assert not you.bold
