"""The commands as a user meets them: what they print, and one line with exit code 2 for every kind of bad input."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CAPTURE = ROOT / "tests" / "trace" / "data" / "coldboot-pve2.pcap.gz"
CONF = ROOT / "tests" / "corosync" / "data" / "proxmox-5-nodes.conf"


def totemviz(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "totemviz", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def test_headless_run_prints_its_figures_as_json(tmp_path: Path) -> None:
    out = tmp_path / "run.jsonl"
    done = totemviz("run", "--headless", "--for", "5s", "--json", "--seed", 7, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    figures = json.loads(done.stdout)
    wanted = [
        "digest",
        "events",
        "virtual_seconds",
        "wall_seconds",
        "token_hops",
        "memberships",
        "deliveries",
        "fsyncs",
    ]
    assert set(wanted) <= set(figures)
    assert figures["virtual_seconds"] == 5
    assert figures["memberships"][-1] == {
        "time_ns": figures["memberships"][-1]["time_ns"],
        "node": 1,
        "ring_id": "1.d",
        "members": [1, 2, 3],
    }
    lines = out.read_text().splitlines()
    assert len(lines) == figures["events"]
    again = json.loads(totemviz("replay", out, "--json").stdout)
    assert again["digest"] == figures["digest"]


def test_a_file_of_etc_pve_is_printed_and_a_folder_listed() -> None:
    shown = ["--show", "1", ".members", "--show", "2", "/etc/pve/local", "--show", "3", "priv"]
    done = totemviz("run", "--headless", "--for", "5s", *shown)
    assert (done.returncode, done.stderr) == (0, "")
    members, _, listing = done.stdout.rpartition("}\n")
    assert json.loads(members + "}")["cluster"]["quorate"] == 1
    assert [line.split()[0] + " " + " ".join(line.split()[7:]) for line in listing.splitlines()] == [
        "lrwxr-xr-x local -> nodes/pve2",
        "drwx------ lock",
    ]


def test_a_proxmox_file_runs_with_its_nodes_and_timeouts(tmp_path: Path) -> None:
    out = tmp_path / "run.jsonl"
    done = totemviz("run", "--conf", CONF, "--headless", "--for", "30s", "--json", "--out", out)
    assert done.returncode == 0
    assert json.loads(done.stdout)["memberships"][-1]["members"] == [1, 2, 3, 5, 7]
    started = json.loads(out.read_text().partition("\n")[0])["body"]
    assert started["timeouts_ms"]["token"] == 4950
    assert [node["votes"] for node in started["nodes"]] == [1, 1, 1, 1, 2]


def test_transcript_is_filtered_by_kind_and_node() -> None:
    done = totemviz("run", "--headless", "--for", "1s", "--transcript", "--kind", "membership_installed", "--node", 2)
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all(" pve2 " in line and "membership_installed" in line for line in lines)


def test_invariants_are_checked_on_request() -> None:
    done = totemviz("run", "--headless", "--for", "3s", "--check", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["violations"] == []
    assert json.loads(totemviz("run", "--headless", "--for", "1s", "--json").stdout)["violations"] is None


def test_replay_of_a_capture() -> None:
    figures = json.loads(totemviz("replay", CAPTURE, "--json").stdout)
    assert figures["undecoded"] == []
    assert figures["decoded"] == figures["frames"] > 300
    assert figures["memberships"][0]["ring_id"] == "2.5"


def test_shadow_of_a_capture() -> None:
    figures = json.loads(totemviz("shadow", CAPTURE, "--json").stdout)
    assert figures["node"] == 2
    assert figures["matched"] == figures["outbound"] == sum(kind["outbound"] for kind in figures["by_type"].values())
    assert figures["mismatches"] == []


def test_report_on_a_proxmox_file() -> None:
    done = totemviz("conf", CONF)
    assert (done.returncode, done.stderr) == (0, "")
    assert "4950 + 5940 = 10890 ms" in done.stdout
    figures = json.loads(totemviz("conf", CONF, "--json").stdout)
    assert (figures["dead_node_out_ms"], figures["quorum"]["quorum"]) == (10890, 4)


def test_lessons_are_listed() -> None:
    done = totemviz("lesson")
    assert done.returncode == 0
    assert "domino" in done.stdout


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "broken.conf").write_text("totem {\n  version: 2\n  token: soon\n}\n")
    (tmp_path / "broken.toml").write_text("seed = 'seven'\n")
    (tmp_path / "text.log").write_text("Nov 22 21:53:16 pve1 corosync[1]: hello\n")
    (tmp_path / "empty.pcap").write_bytes(b"")
    (tmp_path / "cut.pcap.gz").write_bytes(gzip.compress(b"\xd4\xc3\xb2\xa1")[:8])
    (tmp_path / "mixed.jsonl").write_text('{"id": 0}\n')
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--conf", "broken.conf"], "broken.conf:3"),
        (["run", "--conf", "missing.conf"], "missing.conf"),
        (["run", "broken.toml"], "broken.toml:1"),
        (["run", "missing.toml"], "missing.toml"),
        (["run", "folder"], "folder"),
        (["run", "--headless", "--for", "30"], "write a number and a unit"),
        (["run", "--headless", "--transcript", "--kind", "explosion"], "use one of"),
        (["run", "--headless", "--transcript", "--node", "9"], "the cluster has 1, 2, 3"),
        (["run", "--json"], "add --headless"),
        (["run", "--export-db", "1", "out.db"], "add --headless"),
        (["run", "--headless", "--export-db", "9", "out.db"], "the cluster has 1, 2, 3"),
        (["run", "--show", "1", ".members"], "add --headless"),
        (["run", "--headless", "--show", "9", ".members"], "the cluster has 1, 2, 3"),
        (["run", "--headless", "--for", "3s", "--show", "1", "nothing"], "no such file in /etc/pve of node 1"),
        (["run", "--headless", "--for", "1ms", "--show", "1", "/"], "pmxcfs does not run on node 1 at the end"),
        (["run", "--headless", "--export-db", "1"], "--export-db"),
        (["run", "--headless", "--for", "1ms", "--export-db", "1", "folder"], "folder"),
        (["run", "--host-model", "fast"], "article"),
        (["run", "--nonsense"], "--nonsense"),
        (["fly"], "fly"),
        (["run", "--headless", "--for", "1s", "--out", "folder"], "folder"),
        (["replay", "text.log"], "tcpdump"),
        (["replay", "empty.pcap"], "empty.pcap"),
        (["replay", "cut.pcap.gz"], "cut.pcap.gz"),
        (["replay", "mixed.jsonl"], "mixed.jsonl:1"),
        (["replay", "folder"], "folder"),
        (["replay"], "FILE"),
        (["replay", CAPTURE, "--export-db", "9", "out.db"], "it has 1, 2, 3"),
        (["replay", CAPTURE, "--export-db", "1", "out.db"], "add the capture made on it"),
        (["replay", CAPTURE, "--export-db", "2", "out.db"], "begin the capture before pmxcfs"),
        (["replay", CAPTURE, "--export-db", "2", "out.db", "--conf", "missing.conf"], "missing.conf"),
        (["shadow", "text.log"], "text.log"),
        (["shadow", CAPTURE, "--node", "9"], "node 9"),
        (["lesson", "flying"], "use one of"),
        (["disk", "missing"], "missing: no such folder"),
        (["disk", "README.md"], "README.md: no such folder"),
        (["disk", "--name", "nvme"], "built-in"),
        (["conf", "broken.conf"], "broken.conf:3"),
        (["conf", "missing.conf"], "missing.conf: No such file or directory; check the path"),
        (["run", "totemviz2.abc", "--headless"], "no such file, and no share string: one begins with totemviz1."),
        (["conf", "folder"], "folder: Is a directory; name a file in it"),
        (["conf"], "FILE"),
    ],
    ids=lambda value: " ".join(map(str, value))[:40] if isinstance(value, list) else None,
)
def test_bad_input_gets_one_line_and_exit_code_2(files: Path, arguments: list[object], words: str) -> None:
    made = [files / str(word) if (files / str(word)).exists() else word for word in arguments]
    done = totemviz(*made)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_resume_needs_a_session_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOTEMVIZ_STATE_DIR", str(tmp_path))
    for arguments, says in [
        (("--resume",), f"totemviz: {tmp_path}/last-session.toml: there is no last session yet; leaving the cockpit"),
        (("--resume", "disk"), "totemviz: --resume opens the cockpit; leave out disk"),
        (("run", "a.toml", "--resume"), "totemviz: --resume opens the last session; leave out a.toml"),
    ]:
        done = totemviz(*arguments)
        assert (done.returncode, done.stderr.startswith(says)) == (2, True), done.stderr


def test_config_shows_what_is_in_force_and_writes_a_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOTEMVIZ_CONFIG", str(tmp_path / "c.toml"))
    monkeypatch.setenv("TOTEMVIZ_SPEED", "0.5")
    done = totemviz("config", "--init")
    assert done.returncode == 0
    assert "speed      0.5" in done.stdout
    assert "stage.next" in done.stdout
    assert totemviz("config", "--init").stderr.endswith("exists already; edit it, or move it away\n")
    (tmp_path / "c.toml").write_text("[keys]\nplay = 'q'\n")
    done = totemviz("config")
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr == f"totemviz: {tmp_path}/c.toml:2: 'q' is already the key of 'quit'; give that another key too\n"
    )


@pytest.mark.parametrize("arguments", [[], ["run"], ["lesson", "domino"]])
def test_the_cockpit_needs_a_terminal(arguments):
    ran = subprocess.run(
        [sys.executable, "-m", "totemviz", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("totemviz: the cockpit needs a terminal")
