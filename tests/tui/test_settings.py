"""The settings file: what it may say, and the one line it answers when it says something else."""

from __future__ import annotations

import pytest

from totemviz.tui.keys import KEYS
from totemviz.tui.settings import Settings, SettingsError, load_settings, parse_settings, remapped, template


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("theme = 3", "c.toml:1: Expected `str`, got `int`; the settings are theme, speed, tour, keys"),
        ("speed = 1.0\ncolour = 1", "c.toml:2: Object contains unknown field `colour`; the settings are"),
        ("theme = 'x'\nspeed = 0", "c.toml:2: Expected `float` >= 0.0001; the settings are"),
        ("theme =", "c.toml:1: "),
        ("[keys]\n'stage.nxt' = 'j'", "c.toml:2: there is no command 'stage.nxt'; totemviz config lists them"),
        ("[keys]\n'play' = 'w'", "c.toml:2: 'w' is already the key of 'write'; give that another key too"),
        ("[keys]\n'play' = 'j,spcae'", "c.toml:2: there is no key 'spcae'; write a letter, f5, home, ctrl+s,"),
        ("[keys]\n\n'play' = 'p,'", "c.toml:3: 'play' has an empty key"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text, says):
    with pytest.raises(SettingsError) as caught:
        parse_settings(text, "c.toml")
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


def test_keys_may_change_places():
    settings = parse_settings("[keys]\nplay = 'w'\nwrite = 'space'", "c.toml")
    by_id = {key.id: key for key in remapped(settings.keys)}
    assert (by_id["play"].keys, by_id["play"].shown) == ("w", "w")
    assert by_id["write"].shown == "space"
    assert by_id["help"] in KEYS


def test_the_environment_wins_over_the_file(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text('theme = "nord"\nspeed = 2.0')
    assert load_settings(file, {}) == Settings(theme="nord", speed=2.0)
    assert load_settings(file, {"TOTEMVIZ_SPEED": "0.5", "TOTEMVIZ_TOUR": "false"}) == Settings("nord", 0.5, False)
    for name, text in (("SPEED", "fast"), ("SPEED", "1e9"), ("TOUR", "maybe")):
        with pytest.raises(SettingsError, match=f"TOTEMVIZ_{name}"):
            load_settings(file, {f"TOTEMVIZ_{name}": text})


def test_a_missing_file_sets_nothing(tmp_path):
    assert load_settings(tmp_path / "none.toml", {}) == Settings()


def test_the_template_sets_nothing_and_names_everything():
    text = template()
    assert parse_settings(text, "c.toml") == Settings()
    assert parse_settings(text.replace("# ", "", 4).replace("Settings", "# Settings"), "c.toml") == Settings()
    for key in KEYS:
        assert f'"{key.id}"' in text
