"""votequorum beside corosync's own simulator of it (``corosync-vqsim``), where that is installed.

It reads only /etc/corosync/corosync.conf, so it runs in a mount namespace of its own with a small /etc and its own
/var/lib/corosync. It cannot leave a ring cleanly and knows no operator's commands. It activates a new view before the
messages of that view have come, so that a node that lost quorum under wait_for_all takes its own older message as proof
that it need not wait; no case here goes on from there with some of the nodes.
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
from totemviz.corosync.votequorum import VotequorumTimer
from totemviz.totem.effects import CancelTimer, SetTimer

STATUS = re.compile(r"[0-9]+:([0-9]+): q=([01]) ring=\[\S+\] nodes=\[([0-9 ]+)\]")
NAMESPACE = ["unshare", "--mount", "--map-root-user"]
PATIENCE_S = 4.0


def _missing() -> str:
    if shutil.which("corosync-vqsim") is None:
        return "corosync-vqsim is not installed (Debian package corosync-vqsim)"
    if shutil.which("unshare") is None:
        return "unshare is not installed"
    if subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode:
        return "no mount namespace of its own for corosync-vqsim (unshare --mount --map-root-user)"
    return ""


pytestmark = pytest.mark.skipif(bool(_missing()), reason=_missing() or "-")


def conf_text(votes: list[int], options: list[str]) -> str:
    listed = "".join(
        f"node {{\nnodeid: {n}\nring0_addr: 192.0.2.{n}\nquorum_votes: {count}\n}}\n"
        for n, count in enumerate(votes, 1)
    )
    quorum = "\n".join(["provider: corosync_votequorum", *options])
    return f"totem {{\nversion: 2\n}}\nnodelist {{\n{listed}}}\nquorum {{\n{quorum}\n}}\n"


Verdicts = dict[int, tuple[tuple[int, ...], bool]]
"""What each node that is up was told: the members of its partition, and whether they are quorate."""


class Vqsim:
    """The program, with all nodes of the file up in partition 0."""

    def __init__(self, conf: str, folder: Path) -> None:
        for name in ("etc/corosync", "lib"):
            (folder / name).mkdir(parents=True)
        (folder / "etc" / "corosync" / "corosync.conf").write_text(conf)
        binds = f"mount --bind '{folder}/lib' /var/lib/corosync; mount --bind '{folder}/etc' /etc"
        self.process = subprocess.Popen(
            [*NAMESPACE, "sh", "-c", f"{binds} && exec corosync-vqsim"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.verdicts: Verdicts = {}

    def say(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n".encode())
        self.process.stdin.flush()

    def wait_for(self, wanted: Verdicts) -> Verdicts:
        """Ask until every node says what is wanted, or patience is over; what they say then."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            self._read(0.1)
            seen = {node: verdict for node, verdict in self.verdicts.items() if node in wanted}
            if seen == wanted:
                break
            self.say("show")
        return seen

    def _read(self, wait_s: float) -> None:
        assert self.process.stdout is not None
        while select.select([self.process.stdout], [], [], wait_s)[0]:
            chunk = self.process.stdout.read1(65536)  # type: ignore[attr-defined]
            if not chunk:
                return
            for match in STATUS.finditer(chunk.decode(errors="replace")):
                members = tuple(sorted(map(int, match[3].split())))
                self.verdicts[int(match[1])] = (members, match[2] == "1")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class Ours:
    """The same commands, on daemons of ours."""

    def __init__(self, conf: CorosyncConf) -> None:
        self.bus = Bus(conf)
        self.part = dict.fromkeys(self.bus.daemons, 0)
        self.polling: set[int] = set()
        for node in self.part:
            self._settle(node)
        self._settle(*self.part)

    def do(self, command: str) -> None:
        """One command of vqsim's language, or ``wait SECONDS``."""
        verb, *words = command.split()
        before = self._parts()
        if verb == "split":
            part, _, nodes = words[0].partition(":")
            self.part.update(dict.fromkeys(map(int, nodes.split(",")), int(part)))
        elif verb == "join":
            self.part = {node: int(words[0]) if str(part) in words else part for node, part in self.part.items()}
        elif verb == "down":
            self.bus.kill(int(words[0]))
            del self.part[int(words[0])]
        elif verb == "up":
            self.bus.boot(int(words[0]))
            self._settle(int(words[0]))
            self.part[int(words[0])] = 0
        elif verb == "qdevice":
            self._device(words[0] == "on", [int(node) for node in words[1].split(",")])
        else:
            self._wait()
        for members in self._parts():
            if members not in before:
                self._settle(*members)

    def verdicts(self) -> Verdicts:
        """What each node was told."""
        return {
            node: (members, self.bus.daemons[node].votequorum.quorate) for members in self._parts() for node in members
        }

    def _parts(self) -> list[tuple[int, ...]]:
        return [
            tuple(sorted(node for node, other in self.part.items() if other == part))
            for part in sorted(set(self.part.values()))
        ]

    def _settle(self, *members: int) -> None:
        self.bus.form(*members)
        for _ in range(12):  # as far as sync gets without the device
            for node in members:
                self.bus.hop(node)
        for node in self.polling.intersection(members):
            self._poll(node, True)
        self.bus.rotate(*members)

    def _poll(self, node: int, cast_vote: bool) -> None:
        ring_id = self.bus.rings[node].ring_id
        _, outputs = self.bus.daemons[node].ask_votequorum(
            0, lambda v: v.poll_device(ring_id, cast_vote, "VQsim_qdevice")
        )
        self.bus.outputs[node].extend(outputs)

    def _device(self, on: bool, nodes: list[int]) -> None:
        for node in nodes:
            if on and not self.bus.daemons[node].votequorum.device.registered:
                _, outputs = self.bus.daemons[node].ask_votequorum(0, lambda v: v.device.register("VQsim_qdevice"))
                self.bus.outputs[node].extend(outputs)
        self._rotate()
        for node in nodes:
            self._poll(node, on)
            (self.polling.add if on else self.polling.discard)(node)
        self._rotate()
        if not on:  # it does not poll any more and is soon lost
            self.bus.expire(VotequorumTimer.QDEVICE, *nodes)
            self._rotate()

    def _wait(self) -> None:
        """The windows of last_man_standing that are open run out."""
        for node in self.part:
            timers = [out for out in self.bus.outputs[node] if isinstance(out, SetTimer | CancelTimer)]
            last = [out for out in timers if out.timer == VotequorumTimer.LAST_MAN_STANDING]
            if last and isinstance(last[-1], SetTimer):
                self.bus.expire(VotequorumTimer.LAST_MAN_STANDING, node)
                self.bus.outputs[node] = [out for out in self.bus.outputs[node] if out is not last[-1]]
        self._rotate()

    def _rotate(self) -> None:
        for members in self._parts():
            self.bus.rotate(*members)


LMS = ["last_man_standing: 1", "last_man_standing_window: 400"]
DEVICE = ["device {", "model: net", "votes: 1", "timeout: 600", "sync_timeout: 900", "}"]
LOW = "auto_tie_breaker: 1"

CASES: list[tuple[list[int], list[str], list[str]]] = [  # votes, options of the quorum section, commands
    ([1, 1], [], ["split 1:2", "join 0 1"]),
    ([1, 1], ["two_node: 1"], ["split 1:2", "join 0 1", "down 1", "up 1"]),
    ([1, 1], ["two_node: 1", "wait_for_all: 0"], ["down 1", "up 1", "split 1:2"]),
    ([1, 1, 1], [], ["split 1:3", "split 2:2", "join 0 1 2"]),
    ([1, 1, 1], ["wait_for_all: 1"], ["split 1:3", "split 2:2", "join 0 1 2"]),
    ([1, 1, 1], ["wait_for_all: 1"], ["down 3", "up 3"]),
    ([1, 1, 1], ["two_node: 1"], ["split 1:3", "split 2:2"]),
    ([1, 1, 1], ["expected_votes: 5"], ["split 1:3", "join 0 1"]),
    ([1, 1, 1], ["expected_votes: 2"], ["split 1:3", "split 2:2"]),
    ([3, 1, 1], [], ["split 1:1", "join 0 1", "split 1:3"]),
    ([2, 1, 1, 0], [], ["split 1:1", "join 0 1", "split 1:4", "split 2:3"]),
    ([1, 1, 1, 1], [], ["split 1:3,4", "join 0 1"]),
    ([1, 1, 1, 1], [LOW], ["split 1:3,4", "join 0 1", "split 1:4", "split 2:3"]),
    ([1, 1, 1, 1], [LOW], ["split 1:1,2", "split 2:2"]),
    ([1, 1, 1, 1], [LOW, "auto_tie_breaker_node: highest"], ["split 1:3,4", "join 0 1", "down 4"]),
    ([1, 1, 1, 1], [LOW, "auto_tie_breaker_node: 3 1"], ["split 1:1,2", "join 0 1", "down 3", "split 1:1,2"]),
    ([1, 1, 1, 1], [LOW, "auto_tie_breaker_node: 3,1"], ["split 1:1,2"]),
    ([1, 1, 1], [LOW], ["split 1:1"]),
    ([1, 1, 1], [LOW, "wait_for_all: 1"], ["split 1:1", "join 0 1", "split 1:3"]),
    ([1, 1, 1, 1, 1], ["last_man_standing: 1", "last_man_standing_window: 60000"], ["split 1:4,5", "split 2:3"]),
    ([1, 1, 1, 1, 1], [*LMS, "wait_for_all: 1"], ["down 5", "wait 1", "down 4", "wait 1", "down 3", "wait 1", "up 3"]),
    ([1, 1, 1, 1], [*LMS, LOW], ["down 4", "wait 1", "down 3", "wait 1", "down 2", "wait 1"]),
    ([1, 1, 2], LMS, ["down 1", "wait 1", "down 2", "wait 1"]),
    ([1, 1, 1], ["expected_votes_tracking: 1", "expected_votes: 2"], ["down 3", "down 2", "up 2"]),
    ([1, 1, 1], ["two_node: 1", LOW, "wait_for_all: 1"], ["split 1:1", "join 0 1"]),
    ([1, 1], DEVICE, ["qdevice on 1,2", "split 1:2", "qdevice off 2", "join 0 1"]),
    ([1, 1], DEVICE, ["down 2", "qdevice on 1", "qdevice off 1", "qdevice on 1"]),
    ([1, 1, 1, 1], DEVICE, ["qdevice on 1,2", "split 1:3,4", "qdevice off 1,2", "join 0 1"]),
]


@pytest.mark.parametrize(
    ("votes", "options", "commands"), CASES, ids=[f"{len(c[0])}: {'; '.join(c[1][:2])}; {c[2][0]}" for c in CASES]
)
def test_same_verdicts(votes: list[int], options: list[str], commands: list[str], tmp_path: Path) -> None:
    text = conf_text(votes, options)
    program, ours = Vqsim(text, tmp_path), Ours(parse(text, "case"))
    try:
        assert program.wait_for(ours.verdicts()) == ours.verdicts(), "at the start"
        for command in commands:
            if command.startswith("wait"):
                time.sleep(float(command.split()[1]))
            else:
                program.say(command)
            ours.do(command)
            assert program.wait_for(ours.verdicts()) == ours.verdicts(), command
    finally:
        program.close()
