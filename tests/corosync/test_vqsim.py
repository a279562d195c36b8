"""votequorum beside corosync's own simulator of it (``corosync-vqsim``), where that is installed.

It reads only /etc/corosync/corosync.conf, so it runs in a mount namespace of its own with a small /etc.
"""

from __future__ import annotations

import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.corosync.bus import Bus
from totemviz.corosync.conf import CorosyncConf, parse

STATUS = re.compile(r"[0-9]+:([0-9]+): q=([01]) ring=\[\S+\] nodes=\[([0-9 ]+)\]")
NAMESPACE = ["unshare", "--mount", "--map-root-user"]
PATIENCE_S = 6.0


def _missing() -> str:
    if shutil.which("corosync-vqsim") is None:
        return "corosync-vqsim is not installed (Debian package corosync-vqsim)"
    if shutil.which("unshare") is None:
        return "unshare is not installed"
    if subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode:
        return "no mount namespace of its own for corosync-vqsim (unshare --mount --map-root-user)"
    return ""


pytestmark = pytest.mark.skipif(bool(_missing()), reason=_missing() or "-")


def conf_text(nodes: int, options: list[str]) -> str:
    listed = "".join(f"node {{\nnodeid: {n}\nring0_addr: 192.0.2.{n}\n}}\n" for n in range(1, nodes + 1))
    quorum = "\n".join(["provider: corosync_votequorum", *options])
    return f"totem {{\nversion: 2\n}}\nnodelist {{\n{listed}}}\nquorum {{\n{quorum}\n}}\n"


class Vqsim:
    """The program, with all nodes of the file up in partition 0."""

    def __init__(self, conf: str, folder: Path) -> None:
        (folder / "corosync").mkdir(parents=True)
        (folder / "corosync" / "corosync.conf").write_text(conf)
        command = f"mount --bind '{folder}' /etc && exec corosync-vqsim"
        self.process = subprocess.Popen(
            [*NAMESPACE, "sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.verdicts: dict[int, tuple[tuple[int, ...], bool]] = {}

    def say(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n".encode())
        self.process.stdin.flush()

    def wait_for(self, members: tuple[int, ...]) -> bool:
        """Ask until all of these have seen each other in one ring and say the same; their verdict."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            self._read(0.3)
            seen = {self.verdicts.get(node) for node in members}
            if len(seen) == 1 and (verdict := seen.pop()) is not None and verdict[0] == members:
                return verdict[1]
            self.say("show")
        raise AssertionError(f"corosync-vqsim never showed {members}: {self.verdicts}")

    def _read(self, wait_s: float) -> None:
        assert self.process.stdout is not None
        while select.select([self.process.stdout], [], [], wait_s)[0]:
            chunk = self.process.stdout.read1(65536)  # type: ignore[attr-defined]
            if not chunk:
                return
            for match in STATUS.finditer(chunk.decode(errors="replace")):
                members = tuple(map(int, match[3].split()))
                self.verdicts[int(match[1])] = (members, match[2] == "1")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


# nodes, options, then parts that lose contact with the rest, one after the other
CASES = [
    (2, [], [(1,)]),
    (2, ["two_node: 1"], [(1,)]),
    (2, ["two_node: 1", "wait_for_all: 0"], [(1,)]),
    (3, [], [(1, 2), (1,)]),
    (3, ["wait_for_all: 1"], [(1, 2), (1,)]),
    (3, ["two_node: 1"], [(1, 2), (1,)]),
    (3, ["expected_votes: 5"], [(1, 2)]),
    (4, [], [(1, 2)]),
    (4, ["auto_tie_breaker: 1"], [(1, 2)]),
    (4, ["auto_tie_breaker: 1"], [(3, 4)]),
    (4, ["auto_tie_breaker: 1", "auto_tie_breaker_node: highest"], [(3, 4)]),
    (4, ["auto_tie_breaker: 1", "auto_tie_breaker_node: highest"], [(1, 2)]),
    (4, ["auto_tie_breaker: 1", "auto_tie_breaker_node: 3 1"], [(3, 4)]),
    (5, ["last_man_standing: 1", "last_man_standing_window: 60000"], [(1, 2, 3), (1, 2)]),
]


def ours(conf: CorosyncConf, everybody: tuple[int, ...], parts: list[tuple[int, ...]]) -> list[list[bool]]:
    bus = Bus(conf)
    bus.settle(*everybody)
    found = [[bus.daemons[everybody[0]].votequorum.quorate]]
    rest = everybody
    for part in parts:
        gone = tuple(node for node in rest if node not in part)
        bus.settle(*part)
        bus.settle(*gone)
        found.append([bus.daemons[side[0]].votequorum.quorate for side in (part, gone)])
        rest = part
    return found


@pytest.mark.parametrize(("nodes", "options", "parts"), CASES)
def test_same_verdicts(nodes: int, options: list[str], parts: list[tuple[int, ...]], tmp_path: Path) -> None:
    everybody = tuple(range(1, nodes + 1))
    text = conf_text(nodes, options)
    program = Vqsim(text, tmp_path / "etc")
    try:
        real = [[program.wait_for(everybody)]]
        rest = everybody
        for number, part in enumerate(parts, 1):
            gone = tuple(node for node in rest if node not in part)
            program.say(f"split {number}:{','.join(map(str, gone))}")
            real.append([program.wait_for(part), program.wait_for(gone)])
            rest = part
    finally:
        program.close()
    assert ours(parse(text, "case"), everybody, parts) == real
