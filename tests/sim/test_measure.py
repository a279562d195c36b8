"""Measuring a disk: with a clock and a sync of our own, and once for real."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from tests.sim.runs import found, seconds
from totemviz.sim import saved_profiles
from totemviz.sim.disk_report import histogram, report
from totemviz.sim.interventions import Write
from totemviz.sim.measure import Measurement, measure, nearest, profile_of
from totemviz.sim.saved_profiles import ProfileError
from totemviz.sim.scenario import ScenarioError, load_scenario
from totemviz.sim.world import World
from totemviz.trace.events import FsyncFinished

MS = 1_000_000


class Clock:
    """Time passes only in `sync`, and 1 ms at every look at the clock."""

    def __init__(self, *syncs_ms: int) -> None:
        self.now_ns = 0
        self.syncs_ms = list(syncs_ms)

    def __call__(self) -> int:
        self.now_ns += MS
        return self.now_ns

    def sync(self, file: int) -> None:
        os.fstat(file)
        if not self.syncs_ms:
            raise KeyboardInterrupt
        self.now_ns += self.syncs_ms.pop(0) * MS


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOTEMVIZ_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def test_rate_counts_rounds_and_latency_the_sync_alone(tmp_path: Path) -> None:
    clock = Clock(7, 3, 5)
    told: list[int] = []
    result = measure(tmp_path, told.append, duration_ns=25 * MS, clock=clock, sync=clock.sync)
    assert result.latencies_ns == [4 * MS, 6 * MS, 8 * MS]
    assert result.fsync_per_second == pytest.approx(3 / 0.021)
    assert told == sorted(told)
    assert told[-1] == 25 * MS
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    clock = Clock(5)
    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path, duration_ns=10**12, clock=clock, sync=clock.sync)
    assert list(tmp_path.iterdir()) == []


def test_for_real(tmp_path: Path) -> None:
    result = measure(tmp_path, duration_ns=20 * MS)
    assert result.latencies_ns == sorted(result.latencies_ns)
    assert result.fsync_per_second > 0
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="missing"):
        measure(tmp_path / "missing")


def sample(name: str, count: int = 4000) -> Measurement:
    profile = saved_profiles.find(name)
    rng = Random(3)
    latencies_ns = sorted(profile.draw_sync_ns(rng) for _ in range(count))
    return Measurement("/here", count * 1e9 / sum(latencies_ns), latencies_ns)


@pytest.mark.parametrize("name", ["nvme", "ssd-plp", "sata-ssd", "hdd-2.5", "network"])
def test_measuring_what_a_profile_draws_gives_the_profile_again(name: str) -> None:
    real, made = saved_profiles.find(name), profile_of(sample(name), "copy")
    assert made.sync_median_ns == pytest.approx(real.sync_median_ns, rel=0.05)
    assert made.sync_p99_ns == pytest.approx(real.sync_p99_ns, rel=0.2)
    assert nearest(made.fsync_per_second).name == name


def test_stalls_are_kept_apart_from_the_tail() -> None:
    made = profile_of(Measurement("/here", 900.0, [MS] * 980 + [2 * MS] * 19 + [500 * MS]), "copy")
    assert (made.sync_median_ns, made.sync_p99_ns) == (MS, 2 * MS)
    assert (made.stalls_per_million_syncs, made.stall_min_ns, made.stall_max_ns) == (1000, 500 * MS, 500 * MS)


def test_a_saved_disk_is_one_a_scenario_can_name(tmp_path: Path) -> None:
    made = profile_of(Measurement("/here", 20.0, [40 * MS] * 200), "slow-one")
    saved_profiles.save(made)
    assert saved_profiles.find("slow-one") == made
    (tmp_path / "slow.toml").write_text(
        '[disks]\n2 = "slow-one"\n[[interventions]]\nat = "2s"\naction = "write"\nnode = 1\n'
    )
    world = World(*load_scenario(tmp_path / "slow.toml"))
    world.run_until(int(seconds(4)))
    assert world.hosts[2].info.disk == "slow-one"
    assert {body.took_ns for _, body in found(world.timeline, FsyncFinished, 2)} == {40 * MS}


def test_unknown_and_broken_disks_are_one_line(tmp_path: Path, state: Path) -> None:
    (tmp_path / "bad.toml").write_text('[disks]\ndefault = "mine"\n')
    with pytest.raises(ScenarioError, match=r"bad.toml:2: unknown disk 'mine'; use one of nvme, .*"):
        load_scenario(tmp_path / "bad.toml")
    (state / "disks").mkdir(parents=True)
    (state / "disks" / "mine.toml").write_text("fsync_per_second = 'many'\n")
    with pytest.raises(ScenarioError, match="measure again"):
        load_scenario(tmp_path / "bad.toml")
    with pytest.raises(ProfileError, match="built-in"):
        saved_profiles.check_name("nvme")
    with pytest.raises(ProfileError, match="letters"):
        saved_profiles.check_name("../escape")


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("name", ["ssd-plp", "usb-stick"])
def test_the_report_fits_its_terminal(name: str, width: int) -> None:
    lines = report(sample(name), width)
    assert all(len(line) <= width for line in lines[3:]), [line for line in lines if len(line) > width]
    text = " ".join(lines)
    assert "this disk" in text
    assert "host model article" in text
    assert "host model measured" in text
    assert "power-loss" in text


def test_histogram_shows_a_single_stall_and_the_gap_before_it() -> None:
    lines = histogram([MS] * 999 + [100 * MS], 60, unicode=False)
    assert lines[0].split() == ["1", "ms", "#" * 40, "999"]
    assert [line.split()[-1] for line in lines[1:-1]] == ["0"] * 7
    assert lines[-1].split() == ["100", "ms", "#", "1"]


def test_a_folder_in_memory_is_not_praised() -> None:
    assert "tmpfs" in " ".join(report(Measurement("/dev/shm", 90_000.0, [5000] * 200), 80))


def test_interventions_take_saved_disks(tmp_path: Path) -> None:
    saved_profiles.save(profile_of(Measurement("/here", 20.0, [40 * MS] * 200), "slow-one"))
    world_text = '[[interventions]]\nat = "2s"\naction = "set_disk"\nnode = 1\nprofile = "slow-one"\n'
    (tmp_path / "set.toml").write_text(world_text)
    world = World(*load_scenario(tmp_path / "set.toml"))
    world.run_until(int(seconds(2.5)))
    world.intervene(Write(node=1))
    world.run_until(int(seconds(4)))
    assert found(world.timeline, FsyncFinished, 1)[-1][1].took_ns == 40 * MS
