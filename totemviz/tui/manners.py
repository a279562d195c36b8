"""What every good terminal program can do, and nothing about clusters: the base class of the cockpit.

Settings and key map, themes, help, the tour, one panel as large as the screen, copying, and a picture of the screen.
"""

from __future__ import annotations

from textual.app import App
from textual.screen import Screen
from textual.widget import Widget

from totemviz.sim.folders import state_folder, write_whole
from totemviz.tui.help import HelpScreen
from totemviz.tui.keys import Key
from totemviz.tui.maximised import maximise, restore
from totemviz.tui.panel import Panel
from totemviz.tui.settings import Settings, SettingsError, remapped
from totemviz.tui.theme import DARK, THEMES
from totemviz.tui.tour import SEEN_FILE, Tour


class Manners(App[None]):
    """An app with settings, on whose first screen there are panels in ``#body``."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.keys: dict[str, Key] = {key.id: key for key in remapped(settings.keys)}
        self.set_keymap(settings.keys)
        for theme in THEMES:
            self.register_theme(theme)
        if settings.theme not in self.available_themes:
            names = ", ".join(self.available_themes)
            raise SettingsError(f"theme {settings.theme!r}: there is no such theme; use one of {names}")

    def on_load(self) -> None:
        """Before the first frame."""
        self.theme = self.settings.theme

    def say(self, text: str) -> None:
        """One line to the user, until the next step."""
        raise NotImplementedError

    @property
    def base(self) -> Screen[object]:
        """The cockpit's own screen, whatever lies over it."""
        return self.screen_stack[0]

    # ------------------------------------------------------------------------------------------------------- themes

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """What Textual's own themes do not know."""
        return {"frame": "#5a6472", "frame-title": "#9aa5b3"}

    def action_theme(self) -> None:
        """The next of our themes."""
        names = [theme.name for theme in THEMES]
        at = names.index(self.theme) if self.theme in names else names.index(DARK.name) - 1
        self.theme = names[(at + 1) % len(names)]
        self.say(f"Theme: {self.theme}. {self.keys['palette'].shown} has them all by name.")

    # --------------------------------------------------------------------------------------------------- help, tour

    def action_help(self) -> None:
        """All keys; first what the focused panel is about."""
        self.push_screen(HelpScreen(tuple(self.keys.values()), self.focused_panel))

    def action_tour(self) -> None:
        """The six stops."""
        restore(self.base)
        self.push_screen(Tour(self.keys))

    def offer_tour(self) -> None:
        """Start the tour if nobody has seen it here; it is not offered a second time."""
        seen = state_folder() / SEEN_FILE
        if not self.settings.tour or seen.exists():
            return
        try:
            write_whole(seen, "The tour was shown; the palette has it, too.\n")
        except OSError:
            return  # it would be offered at every start
        self.action_tour()

    # ---------------------------------------------------------------------------------------------------- one panel

    @property
    def focused_panel(self) -> Panel | None:
        """The panel that has the focus on the cockpit's own screen."""
        focused = self.base.focused
        return focused if isinstance(focused, Panel) else None

    def default_panel(self) -> Widget:
        """The panel that is meant when none has the focus."""
        raise NotImplementedError

    def action_maximise(self) -> None:
        """The focused panel as large as possible, or everything again."""
        if restore(self.base):
            return
        panel = self.focused_panel or self.default_panel()
        maximise(self.base, panel, self.base.query_one("#body"))

    def action_copy(self) -> None:
        """The text of the focused panel to the clipboard."""
        panel = self.focused_panel or self.default_panel()
        assert isinstance(panel, Panel)
        lines = ["".join(text for text, _ in line).rstrip() for line in panel.drawing.lines]
        self.copy_to_clipboard("\n".join(lines) + "\n")
        self.say(f"Copied {len(lines)} lines of “{panel.border_title or (panel.id or '').removeprefix('page-')}”.")

    def action_help_quit(self) -> None:
        """Control C copies where text is marked and ends nothing: many press it by habit."""
        self.say(f"{self.keys['quit'].shown} leaves; totemviz --resume goes on here.")

    def action_picture(self) -> None:
        """Save the screen as SVG, once the palette is gone."""
        self.set_timer(0.2, self.deliver_screenshot)
