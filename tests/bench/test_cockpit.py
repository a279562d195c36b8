"""How fast the cockpit answers: as a person has it, the program in a terminal of 120 × 40.

``pytest tests/bench/test_cockpit.py --benchmark-only``. The columns hold more than is asked: the end of the program, a
moment's rest after a key. ``extra_info`` (in the JSON) has what is asked: the first frame, the 95th percentile of a
key, and CPU times, which a busy machine changes least.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bench.terminal import Terminal

SIZE = (120, 40)
KEYS = 100
IDLE_S = 5.0
BOOTED_S = 0.6
"""Between two frames of a boot there is less."""
FIRST = " of "
"""``event 5 101 of 5 101`` in the header: there is a frame with everything in it."""
STEPS = {"stage": "\x1b[C", "stage back": "\x1b[D", "event": ".", "rotation": "}"}


@pytest.fixture(autouse=True)
def only_to_measure(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--benchmark-only"):
        pytest.skip("starts the program many times: --benchmark-only")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A newcomer's, who has seen the tour."""
    own = {"TOTEMVIZ_TOUR": "false", "TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONDONTWRITEBYTECODE": ""}
    own["TOTEMVIZ_STATE_DIR"], own["TOTEMVIZ_CONFIG"] = str(tmp_path / "state"), str(tmp_path / "config.toml")
    return own


def cluster(nodes: int, folder: Path) -> str:
    """A scenario file."""
    path = folder / f"{nodes}.toml"
    path.write_text(f"[cluster]\nnodes = {nodes}\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "nothing compiled"])
@pytest.mark.parametrize("nodes", [3, 16])
def test_start_to_first_frame(benchmark: Any, nodes: int, compiled: bool, environment: dict[str, str], tmp_path: Path):
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path / "cache")
    if not compiled:
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    spent: list[float] = []
    first: list[float] = []

    def start() -> None:
        terminal = Terminal(["run", cluster(nodes, tmp_path)], SIZE, environment)
        first.append(terminal.read_until(FIRST))
        spent.append(terminal.cpu_s())
        terminal.settle()
        terminal.close()

    benchmark.pedantic(start, rounds=5, iterations=1, warmup_rounds=1)
    benchmark.extra_info["first_frame_seconds"] = round(statistics.median(first), 3)
    benchmark.extra_info["cpu_seconds"] = round(min(spent), 3)


@pytest.fixture
def open_cockpit(environment: dict[str, str], tmp_path: Path) -> Iterator[Any]:
    opened: list[Terminal] = []

    def start(nodes: int) -> Terminal:
        terminal = Terminal(["run", cluster(nodes, tmp_path)], SIZE, environment)
        opened.append(terminal)
        terminal.read_until(FIRST)
        terminal.settle(BOOTED_S)
        return terminal

    yield start
    for terminal in opened:
        terminal.close()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("nodes", [5, 16])
def test_key_to_painted_frame(benchmark: Any, open_cockpit: Any, nodes: int, step: str) -> None:
    terminal = open_cockpit(nodes)
    for _ in range(10):
        terminal.press(STEPS["stage"])
    took: list[float] = []
    before = terminal.cpu_s()
    benchmark.pedantic(lambda: took.append(terminal.press(STEPS[step])), rounds=KEYS, iterations=1)
    benchmark.extra_info["p95_ms"] = round(statistics.quantiles(took, n=20)[-1] * 1000, 1)
    benchmark.extra_info["median_ms"] = round(statistics.median(took) * 1000, 1)
    benchmark.extra_info["cpu_ms_per_key"] = round((terminal.cpu_s() - before) / KEYS * 1000, 1)


def test_idle(benchmark: Any, open_cockpit: Any) -> None:
    terminal = open_cockpit(5)

    def rest() -> None:
        time.sleep(IDLE_S)

    before = terminal.cpu_s()
    benchmark.pedantic(rest, rounds=1, iterations=1)
    benchmark.extra_info["cpu_percent"] = round((terminal.cpu_s() - before) / IDLE_S * 100, 2)
