"""Do the profiles deliver the rates they state?"""

from decimal import localcontext
from random import Random

import msgspec
import pytest

from totemviz.sim.profiles import PROFILES, DiskProfile

SAMPLES = 20_000


def test_the_seven_classes_are_there():
    assert list(PROFILES) == ["nvme", "ssd-plp", "sata-ssd", "hdd-2.5", "usb-stick", "sd-card", "network"]
    assert [name for name, profile in PROFILES.items() if profile.power_loss_protection] == ["ssd-plp"]
    assert all(profile.title and len(profile.source) > 100 for profile in PROFILES.values())


def test_popular_figures():
    assert PROFILES["ssd-plp"].fsync_per_second >= 3_000
    assert 30 <= PROFILES["usb-stick"].fsync_per_second <= 50


@pytest.mark.parametrize("name", PROFILES)
def test_mean_rate_is_the_stated_one(name):
    rng = Random(f"disk/{name}")
    rate = SAMPLES * 1e9 / sum(PROFILES[name].draw_sync_ns(rng) for _ in range(SAMPLES))
    assert rate == pytest.approx(PROFILES[name].fsync_per_second, rel=0.15)


@pytest.mark.parametrize("name", PROFILES)
def test_median_and_p99_are_the_stated_ones(name):
    profile = msgspec.structs.replace(PROFILES[name], stalls_per_million_syncs=0)
    rng = Random(name)
    latencies = sorted(profile.draw_sync_ns(rng) for _ in range(SAMPLES))
    assert latencies[SAMPLES // 2] == pytest.approx(profile.sync_median_ns, rel=0.05)
    assert latencies[SAMPLES * 99 // 100] == pytest.approx(profile.sync_p99_ns, rel=0.10)


@pytest.mark.parametrize("name", PROFILES)
def test_stalls_come_as_often_as_stated(name):
    # Without its bell curve, what takes longer than the median is a stall.
    profile = msgspec.structs.replace(PROFILES[name], sync_p99_ns=PROFILES[name].sync_median_ns)
    rng = Random(1)
    stalls = [ns for _ in range(SAMPLES) if (ns := profile.draw_sync_ns(rng) - profile.sync_median_ns)]
    expected = profile.stalls_per_million_syncs * SAMPLES / 1_000_000
    assert abs(len(stalls) - expected) <= 4 * expected**0.5
    assert all(profile.stall_min_ns <= ns <= profile.stall_max_ns for ns in stalls)


def test_a_draw_is_the_same_integer_everywhere():
    profile = PROFILES["hdd-2.5"]
    golden = [27363513, 18184891, 14967777, 23562601, 22339321]
    rng = Random("golden")
    assert [profile.draw_sync_ns(rng) for _ in golden] == golden
    with localcontext() as context:  # whatever precision the caller's program works with
        context.prec = 3
        rng = Random("golden")
        assert [profile.draw_sync_ns(rng) for _ in golden] == golden


def test_a_sync_takes_time():
    instant = DiskProfile("x", "x", 1, sync_median_ns=1, sync_p99_ns=2, power_loss_protection=False, source="")
    rng = Random(0)
    assert min(instant.draw_sync_ns(rng) for _ in range(1000)) == 1
