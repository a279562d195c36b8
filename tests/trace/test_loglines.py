"""Every line our machines can print is in the tables: looked for in the sources, and in what runs really say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import totemviz
from tests.sim.runs import SCENARIOS, run_file
from totemviz.totem.effects import Level, Log
from totemviz.trace.loglines import ha, meaning_of, pmxcfs, ring, services, votes

ROOT = Path(totemviz.__file__).parent
ROOMS = ("totem", "corosync", "pmxcfs", "sim")
LOGGING = {"log", "_log", "notice", "critical", "_notice", "_critical", "_debug", "Log"}
SAID_IN_FULL = {"LeaveGroupError", "DatabaseError", "WireError", "PacketError", "DuplicateVmidError"}
SAID_IN_FULL |= {"MalformedMessageError", "MalformedIndexError", "MalformedRingError"}
WILD = "\0"
"""Stands for what a line holds that cannot be read from the source."""


def texts(node: ast.expr, scope: dict[str, list[ast.expr]]) -> Iterator[str]:
    """What a string expression can become."""
    match node:
        case ast.Constant(value=str() as value):
            yield value
        case ast.JoinedStr(values=values):
            found = [""]
            for value in values:
                inner = value.value if isinstance(value, ast.FormattedValue) else value
                known = isinstance(inner, ast.Name | ast.Constant)
                parts = (list(texts(inner, scope)) if known else []) or [WILD]
                found = [before + part for before in found for part in parts]
            yield from found
        case ast.IfExp(body=body, orelse=orelse):
            yield from texts(body, scope)
            yield from texts(orelse, scope)
        case ast.Name(id=name):
            values = scope.get(name, [])
            last = ast.walk(values[-1]) if values else ()
            grows = any(isinstance(part, ast.Name) and part.id == name for part in last)
            earlier = {**scope, name: values[:-1] if grows else []}
            for value in values[-1:] if grows else values:
                yield from texts(value, earlier)


def lines_of(path: Path) -> Iterator[tuple[str, int]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.Module):
            continue
        nodes = list(ast.walk(function)) if isinstance(function, ast.FunctionDef) else function.body
        scope: dict[str, list[ast.expr]] = {}
        for node in nodes:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                scope.setdefault(node.targets[0].id, []).append(node.value)
        for top in nodes:
            for node in ast.walk(top) if isinstance(function, ast.Module) else [top]:
                if not isinstance(node, ast.Call) or not node.args:
                    continue
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name in LOGGING or (name in SAID_IN_FULL and "sim" not in path.parts):
                    for text in texts(node.args[-1], scope):
                        yield text, node.lineno


TABLES = {
    "corosync": (*ring.LINES, *services.LINES, *votes.LINES),
    "pmxcfs": pmxcfs.LINES,
    "ha": ha.LINES,
}
OF_HA = ("lrm.py", "watchdog.py")


def places() -> Iterator[tuple[str, str, str]]:
    """Where, what, and the table it should be in."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            table = "pmxcfs" if room == "pmxcfs" else "ha" if path.name in OF_HA else "corosync"
            for text, line in lines_of(path):
                if text.strip(WILD):
                    yield f"{room}/{path.name}:{line}", text.rstrip(), table


def fits(text: str, template: str) -> bool:
    """Whether some text can be both: a line with ``WILD`` in it, and a template with ``{}`` in it."""

    @cache
    def both(i: int, j: int) -> bool:
        if i < len(text) and text[i] == WILD:
            return both(i + 1, j) or (j < len(pattern) and both(i, j + 1))
        if j < len(pattern) and pattern[j] == WILD:
            return both(i, j + 1) or (i < len(text) and both(i + 1, j))
        if i == len(text) or j == len(pattern):
            return i == len(text) and j == len(pattern)
        return text[i] == pattern[j] and both(i + 1, j + 1)

    pattern = template.replace("{}", WILD)
    return both(0, 0)


def test_every_line_in_the_sources_has_a_meaning():
    found = list(places())
    assert len(found) > 120
    unknown = [
        f"{place}: {text.replace(WILD, '{}')}"
        for place, text, table in found
        if not any(fits(text, template) for template, _, _ in TABLES[table])
    ]
    assert not unknown, "add these to totemviz/trace/loglines"


@pytest.mark.parametrize("name", sorted(path.stem for path in SCENARIOS.glob("*.toml")))
def test_every_line_of_a_run_has_a_meaning(name):
    said = {(event.body.subsystem, event.body.text) for event in run_file(name).timeline if isinstance(event.body, Log)}
    assert len(said) > 20
    assert [pair for pair in sorted(said) if meaning_of(Log(Level.NOTICE, *pair)) is None] == []


def test_the_most_telling_template_wins():
    loss = Log(Level.DEBUG, "TOTEM", "The token was lost in the COMMIT state.")
    assert meaning_of(loss).source == "totemsrp.c: timer_function_orf_token_timeout"
    assert meaning_of(Log(Level.DEBUG, "VOTEQ", "ATB_LOWEST decision: 1")).template == "ATB_LOWEST decision: {}"
    assert meaning_of(Log(Level.NOTICE, "TOTEM", "Token has not been received in 2737 ms ")) is not None
    assert meaning_of(Log(Level.NOTICE, "dcdb", "members: 1/1002")).source == "dfsm.c: dfsm_cpg_confchg_callback"
    assert meaning_of(Log(Level.NOTICE, "TOTEM", "nobody says this")) is None


@pytest.mark.parametrize("table", [ring, services, votes, pmxcfs, ha])
def test_tables_are_tidy(table):
    templates = [template for template, _, _ in table.LINES]
    assert len(set(templates)) == len(templates)
    for template, source, text in table.LINES:
        assert re.match(r".*\.(c|pm): ", source), template
        assert text.endswith((".", "?")), template
