"""A terminal for the program: a pseudo-terminal whose reader notes when something was painted."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path

QUIET_S = 0.04
LIMIT_S = 60.0
ROOT = Path(__file__).parents[2]


class Terminal:
    """The program in a terminal of a size (columns, rows), from its start to its end."""

    def __init__(self, arguments: Sequence[str], size: tuple[int, int], environment: dict[str, str]) -> None:
        self.started_s = time.perf_counter()
        columns, rows = size
        self.pid, self._file = pty.fork()
        if not self.pid:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.chdir(ROOT)
            # execve with what Python knows: readline puts COLUMNS and LINES into the C library's environment
            os.execve(sys.executable, [sys.executable, "-m", "totemviz", *arguments], os.environ | environment)
        self.painted_s = self.started_s

    def read_until(self, words: str) -> float:
        """Wait until these words are painted; returns when, in seconds since the start."""
        seen = b""
        while words.encode() not in seen:
            more = self._read(LIMIT_S)
            if not more:
                raise AssertionError(f"{words!r} was never painted")
            seen += more
        return self.painted_s - self.started_s

    def settle(self, quiet_s: float = QUIET_S) -> None:
        """Wait until nothing more is painted for so long."""
        while self._read(quiet_s):
            pass

    def press(self, keys: str) -> float:
        """Press a key and wait for what it paints; returns the seconds until the last of it was painted."""
        pressed_s = time.perf_counter()
        os.write(self._file, keys.encode())
        assert self._read(LIMIT_S), "the key painted nothing"
        self.settle()
        return self.painted_s - pressed_s

    def cpu_s(self) -> float:
        """CPU seconds the program has used."""
        spent_ns = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            spent_ns += int((task / "schedstat").read_text(encoding="ascii").split()[0])
        return spent_ns / 1e9

    def close(self) -> None:
        """End the program with its own key."""
        os.write(self._file, b"q")
        while self._read(LIMIT_S):
            pass
        os.waitpid(self.pid, 0)
        os.close(self._file)

    def _read(self, seconds: float) -> bytes:
        if not select.select([self._file], [], [], seconds)[0]:
            return b""
        try:
            more = os.read(self._file, 1 << 16)
        except OSError:  # the other side is closed
            return b""
        self.painted_s = time.perf_counter()
        return more
