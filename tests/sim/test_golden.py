"""Golden transcripts: whole scenarios as text. ``UPDATE_GOLDEN=1 pytest tests/sim/test_golden.py`` writes them anew."""

from __future__ import annotations

import os

import pytest

from tests.sim.runs import GOLDEN, SCENARIOS, run_file
from totemviz.trace.transcript import transcript

STORY = {
    "intervened",
    "process_started",
    "process_killed",
    "process_blocked",
    "process_resumed",
    "state_entered",
    "membership_installed",
    "quorum_changed",
    "dfsm_mode_changed",
    "write_started",
    "write_finished",
    "change_applied",
    "fsync_started",
    "fsync_finished",
}
CASCADE = {
    "intervened",
    "disk_loaded",
    "disk_faulted",
    "disk_changed",
    "process_killed",
    "process_blocked",
    "process_resumed",
    "ring_id_stored",
    "state_entered",
    "membership_installed",
    "lrm_state_changed",
    "watchdog_fed",
    "watchdog_warned",
    "watchdog_expired",
    "node_fenced",
}
CLIENTS = {
    "intervened",
    "process_started",
    "process_blocked",
    "process_resumed",
    "membership_installed",
    "cpg_confchg",
    "cpg_refused",
    "flood_finished",
    "ipc_backlog",
    "queue_level_changed",
}
CLOCK = {
    "intervened",
    "clock_set",
    "membership_installed",
    "lrm_state_changed",
    "watchdog_fed",
    "watchdog_warned",
    "watchdog_expired",
    "node_fenced",
    "lock_expired",
    "write_finished",
}
CONF = {
    "intervened",
    "corosync_conf_written",
    "corosync_reload",
    "config_reloaded",
    "timeouts_changed",
    "membership_installed",
    "quorum_changed",
    "daemon_exited",
    "dfsm_mode_changed",
}
MERGE = {"intervened", "quorum_changed", "dfsm_mode_changed", "write_finished", "change_applied", "log"}
KINDS = {
    "split-five": MERGE,
    "split-forced": MERGE,
    "split-refused": MERGE,
    "cascade-article": CASCADE,
    "cascade-ring": CASCADE,
    "cascade-watchdog": CASCADE,
    "client-stopped-reader": CLIENTS,
    "clock-ahead": CLOCK,
    "clock-behind": CLOCK - {"write_finished"},
    "clock-lock": CLOCK | {"system_called", "change_applied"},
    "client-stopped-pmxcfs": STORY | CLIENTS,
    "conf-while-away": CONF,
    "cold-boot": STORY | {"log", "cpg_confchg", "sync_completed"},
    "kill-restart": STORY,
    "partition": STORY,
    "domino-article": STORY,
    "domino-measured": STORY,
}


@pytest.mark.parametrize("name", sorted(path.stem for path in SCENARIOS.glob("*.toml")))
def test_transcript(name: str) -> None:
    lines = list(transcript(run_file(name).timeline, KINDS[name]))
    if KINDS[name] is MERGE:  # pmxcfs' own lines tell the story
        lines = [line for line in lines if "  log  " not in line or "[dcdb  ]" in line]
    text = "\n".join(line for line in lines if " debug   " not in line) + "\n"
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8"), f"{name} runs differently now; look at the difference"
