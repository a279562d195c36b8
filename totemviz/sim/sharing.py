"""Saving a session with all its branches, as a small TOML file or as one string that can be pasted anywhere.

Both hold the same: the scenario, what was done on each branch at its exact place, and where everybody stood. Nothing
of the timelines: they are made again. The string is the compressed file with a checksum, in URL-safe base64.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from pathlib import Path

import msgspec

from totemviz.corosync.conf import CorosyncConf
from totemviz.sim.branches import Branch
from totemviz.sim.scenario import (
    SavedBranch,
    SavedSession,
    Scenario,
    ScenarioError,
    check,
    cluster_conf,
    dump_scenario,
    parse_scenario,
    self_contained,
)
from totemviz.sim.session import Simulation
from totemviz.sim.units import Duration
from totemviz.trace.conditions import ConditionError, compile_condition

PREFIX = "totemviz1."
CHECKSUM_BYTES = 4
TEXT_MAX = 4 * 1024 * 1024
"""A share string never unpacks to more than this."""

STRING = "share string"
_NOWHERE = Path()


def saved_session(session: Simulation) -> Scenario:
    """The scenario of a session with its branches; ``restore`` makes the session again."""
    branches = []
    for _, branch in session.family.tree():
        scenario = branch.world.scenario_until(len(branch.timeline))
        root = branch is session.family.branches[0]
        branches.append(
            SavedBranch(
                name=branch.name,
                parent=branch.parent.name if branch.parent is not None else "",
                forked_at=branch.forked_at,
                position=branch.cursor.position,
                until=Duration(branch.world.now_ns),
                host_model=None if root else scenario.host_model,
                interventions=() if root else scenario.interventions,
            )
        )
    kept = SavedSession(
        current=session.family.current.name,
        branches=tuple(branches),
        stops=tuple(stop.condition.text for stop in session.stops.items if stop.enabled),
    )
    first = session.family.branches[0]
    scenario = self_contained(first.world.scenario_until(len(first.timeline)), session.conf)
    return msgspec.structs.replace(scenario, session=kept)


def restore(scenario: Scenario, conf: CorosyncConf, source: str = "session", *, warm_up: bool = True) -> Simulation:
    """A session as it was saved; a new one for a scenario without a saved session, warmed up if that is wanted.

    Raises ScenarioError if what was saved does not fit together.
    """
    kept = scenario.session
    plain = msgspec.structs.replace(scenario, session=None)
    session = Simulation(plain, conf)
    if kept is None or not kept.branches:
        if warm_up:
            session.warm_up()
        return session
    by_name = {"main": session.family.current}
    for saved in kept.branches:
        branch = by_name["main"] if saved.name == "main" else _restored(saved, plain, by_name, source)
        branch.world.run_until(int(saved.until))
        branch.cursor.move_to(saved.position)
        if saved.name != "main":
            session.family.add(branch)
            by_name[saved.name] = branch
    if kept.current not in by_name:
        raise ScenarioError(f"{source}: there is no branch “{kept.current}”; set session.current to one of its names")
    session.switch(by_name[kept.current])
    infos = [node.info for node in session.cursor.view.nodes.values()]
    for text in kept.stops:
        try:
            session.stops.add(compile_condition(text, infos))
        except ConditionError as error:
            raise ScenarioError(f"{source}: in session.stops: {error}") from None
    return session


def _restored(saved: SavedBranch, plain: Scenario, by_name: dict[str, Branch], source: str) -> Branch:
    parent = by_name.get(saved.parent)
    if parent is None:
        raise ScenarioError(
            f"{source}: branch “{saved.name}” begins in “{saved.parent}”, which does not stand before it"
        )
    changes = {"interventions": saved.interventions, "host_model": saved.host_model or plain.host_model}
    scenario = msgspec.structs.replace(plain, **changes)
    if saved.forked_at < 0:
        return Branch(saved.name, parent.conf, scenario, parent)
    if saved.forked_at >= len(parent.timeline):
        raise ScenarioError(f"{source}: branch “{saved.name}” begins at event {saved.forked_at}, which never happens")
    return Branch.forked(saved.name, parent, scenario, saved.forked_at)


def current_run(scenario: Scenario) -> Scenario:
    """Of a saved session the run that was on screen, as a plain scenario; any other scenario as it is."""
    kept = scenario.session
    plain = msgspec.structs.replace(scenario, session=None)
    if kept is None:
        return scenario
    saved = next((branch for branch in kept.branches if branch.name == kept.current), None)
    if saved is None or saved.name == "main":
        return plain
    model = saved.host_model or plain.host_model
    return msgspec.structs.replace(plain, interventions=saved.interventions, host_model=model)


def share_string(scenario: Scenario) -> str:
    """A scenario, with or without a session, as one string."""
    text = dump_scenario(scenario).encode()
    packed = zlib.crc32(text).to_bytes(CHECKSUM_BYTES, "big") + zlib.compress(text, 9)
    return PREFIX + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def is_share_string(text: str) -> bool:
    """Whether this is meant as a share string rather than as the name of a file."""
    return text.strip().startswith(PREFIX)


def is_misspelt_share_string(text: str) -> bool:
    """Whether this looks like a share string whose beginning is damaged, or of another version."""
    return re.match(r"totemviz\d*[.:]", text.strip()) is not None and not text.strip().endswith(".toml")


def load_share_string(text: str) -> tuple[Scenario, CorosyncConf]:
    """Read a share string. Raises ScenarioError, one line, if it is damaged or does not fit."""
    body = "".join(text.split()).removeprefix(PREFIX)
    damaged = ScenarioError(f"{STRING}: it is damaged or cut short; copy it again, from {PREFIX}… to its end")
    try:
        packed = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        unpacker = zlib.decompressobj()
        plain = unpacker.decompress(packed[CHECKSUM_BYTES:], TEXT_MAX)
    except (binascii.Error, ValueError, zlib.error):
        raise damaged from None
    if not unpacker.eof or zlib.crc32(plain).to_bytes(CHECKSUM_BYTES, "big") != packed[:CHECKSUM_BYTES]:
        raise damaged
    scenario = parse_scenario(plain.decode("utf-8", "replace"), STRING)
    conf = cluster_conf(scenario, STRING, _NOWHERE)
    check(scenario, conf, STRING)
    return scenario, conf
