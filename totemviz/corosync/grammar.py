"""The grammar of corosync.conf: lines into a tree of sections, and the tree back into text.

A file is a sequence of lines; every line is blank, a comment (``#`` first), ``name {``, ``key: value`` or ``}``.
There is no quoting, no comment behind a value, and nothing may share a line with a brace (``coroparse.c:
parse_section``). What the keys mean is in ``conf``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

LINE_LENGTH_MAX = 510  # bytes: corosync reads lines into 512, newline and terminator included
PATH_LENGTH_MIN, PATH_LENGTH_MAX = 3, 254
BLANK = " \t\xa0"
_PATH = re.compile(r"[A-Za-z0-9._\-/:]+\Z")


class ConfError(ValueError):
    """A corosync.conf that corosync refuses. Prints one line: ``FILE:LINE: what is wrong; the mend``."""

    def __init__(self, file: str, line: int, message: str) -> None:
        message = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in message)
        super().__init__(f"{file}:{line}: {message}")
        self.file = file
        self.line = line
        self.message = message


class Entry(msgspec.Struct, frozen=True):
    """One ``key: value`` line; ``line`` counts from 1."""

    key: str
    value: str
    line: int


class Section(msgspec.Struct, frozen=True):
    """One section with its entries and subsections in file order; the file itself is a section without a name."""

    name: str
    line: int
    entries: tuple[Entry, ...] = ()
    sections: tuple[Section, ...] = ()

    def named(self, name: str) -> Iterator[Section]:
        """The subsections with this name, in file order."""
        return (section for section in self.sections if section.name == name)

    def get(self, key: str) -> Entry | None:
        """The entry corosync uses for a key: the last one wins."""
        return next((entry for entry in reversed(self.entries) if entry.key == key), None)

    def effective(self, section: str, key: str) -> Entry | None:
        """The entry corosync uses for a key of a subsection, which may be opened several times."""
        found = [entry for part in self.named(section) for entry in part.entries if entry.key == key]
        return found[-1] if found else None


class _Open:
    """A section whose closing brace has not been read yet."""

    def __init__(self, name: str, line: int, path: str) -> None:
        self.name = name
        self.line = line
        self.path = path
        self.entries: list[Entry] = []
        self.sections: list[Section] = []

    def close(self) -> Section:
        return Section(self.name, self.line, tuple(self.entries), tuple(self.sections))


def parse_tree(text: str, path: str) -> Section:
    """The tree of a corosync.conf. Raises ConfError for a line that is not in the grammar."""
    lines = text.split("\n")
    stack = [_Open("", 1, "")]
    for number, raw in enumerate(lines, 1):
        if len(raw.encode("utf-8", "replace")) > LINE_LENGTH_MAX:
            raise ConfError(path, number, f"line too long; keep it to {LINE_LENGTH_MAX} bytes")
        if "\0" in raw:
            raise ConfError(path, number, "a NUL byte; this is no text file, write it anew")
        line = raw.removesuffix("\r").strip(BLANK)
        if not line or line.startswith("#"):
            continue
        error = _read_line(line, number, stack)
        if error:
            raise ConfError(path, number, error)
    if len(stack) > 1:
        unclosed = stack[-1]
        raise ConfError(
            path, len(lines), f"missing closing brace of {unclosed.path} (opened in line {unclosed.line}); add '}}'"
        )
    return stack[0].close()


def _read_line(line: str, number: int, stack: list[_Open]) -> str | None:
    """Apply one line to the open sections; returns what is wrong, or None. The first brace or colon decides."""
    if "{" in line:
        return _open_section(line, number, stack)
    if ":" in line:
        return _read_key(line, number, stack[-1])
    if "}" in line:
        return _close_section(line, stack)
    return "neither 'section {', '}' nor 'key: value'; a key needs a colon"


def _open_section(line: str, number: int, stack: list[_Open]) -> str | None:
    before, after = line.split("{", 1)
    name, here = before.rstrip(BLANK + ":{"), stack[-1]
    if not name:
        return "missing section name before '{'; write for example 'totem {'"
    if after.strip(BLANK):
        return "text after '{'; put it on a line of its own"
    if error := _too_long(here.path, name):
        return error
    stack.append(_Open(name, number, f"{here.path}.{name}" if here.path else name))
    return None


def _read_key(line: str, number: int, here: _Open) -> str | None:
    before, after = line.split(":", 1)
    key = before.rstrip(BLANK + ":{")
    if not key:
        return "missing key before ':'; write 'key: value'"
    if error := _too_long(here.path, key) or _bad_name(f"{here.path}.{key}" if here.path else key):
        return error
    here.entries.append(Entry(key, after.strip(BLANK), number))
    return None


def _close_section(line: str, stack: list[_Open]) -> str | None:
    if line != "}":
        return "text beside '}'; put the brace on a line of its own"
    if len(stack) == 1:
        return "'}' without an open section; remove it"
    closed = stack.pop()
    stack[-1].sections.append(closed.close())
    return None


def _too_long(path: str, name: str) -> str | None:
    """What corosync says when a name makes the path in its key map too long (``coroparse.c: parse_section``)."""
    if len(f"{path}.{name}".encode("utf-8", "replace")) > PATH_LENGTH_MAX:
        return f"the path of {name[:20]}… is too long; keep it to {PATH_LENGTH_MAX} characters"
    return None


def _bad_name(path: str) -> str | None:
    """What corosync's key map has against the path of a key (``icmap.c: icmap_check_key_name``)."""
    if not _PATH.match(path):
        return f"{path!r} is not a name; use letters, digits and . _ - / :"
    if len(path) < PATH_LENGTH_MIN:
        return f"{path!r} is too short for a name; use {PATH_LENGTH_MIN} characters or more"
    return None


def write_tree(root: Section) -> str:
    """A tree in Proxmox VE's form: everything sorted by name, two spaces of indentation, a blank line in between."""
    return "\n".join("".join(_write(section, "")) for section in sorted(root.sections, key=_order))


def _order(section: Section) -> tuple[str, str]:
    """Sections sort by name; nodes and interfaces, which repeat, by what tells them apart."""
    label = section.get("name") or section.get("linknumber")
    return section.name, label.value if label else ""


def _write(section: Section, indent: str) -> Iterator[str]:
    yield f"{indent}{section.name} {{\n"
    inner = indent + "  "
    entries = {entry.key: f"{inner}{entry.key}: {entry.value}\n" for entry in section.entries}
    parts = [((key, ""), text) for key, text in entries.items()]
    parts += [(_order(child), "".join(_write(child, inner))) for child in section.sections]
    for _, text in sorted(parts, key=lambda part: part[0]):
        yield text
    yield f"{indent}}}\n"
