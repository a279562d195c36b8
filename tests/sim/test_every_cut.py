"""The power fails at every single I/O operation of 200 writes: nothing that was promised is lost, nothing is mixed up.

``TOTEMVIZ_SEARCH=deep`` cuts at all of them (half an hour for the clusters), an ordinary run at a sample.
"""

from __future__ import annotations

import os

import pytest

from tests.sim import power_cuts
from tests.sim.power_cuts import WAL, Counts, Ledger, digest, fork_at_every_cut, version_and_files
from totemviz.pmxcfs.effects import DiskIo
from totemviz.sim.threads import HostModel

DEEP = os.environ.get("TOTEMVIZ_SEARCH") == "deep"
DISK_EVERY = 1 if DEEP else 17
CLUSTER_EVERY = 1 if DEEP else 331
CHANGES_PER_FILE = 2


@pytest.mark.parametrize("torn", [False, True], ids=["kept", "torn"])
@pytest.mark.parametrize("synchronous", ["NORMAL", "FULL"])
def test_the_database_is_a_prefix_of_what_was_committed_and_holds_what_was_promised(
    synchronous: str, torn: bool
) -> None:
    ledger = Ledger(synchronous, torn)
    assert len(ledger.commit_ends) == power_cuts.WRITES * CHANGES_PER_FILE
    seen: dict[bytes, tuple[int, list[int]]] = {}
    lost = 0
    for cut in ledger.cuts(DISK_EVERY):
        image = digest(cut.files)
        if image not in seen:
            seen[image] = version_and_files(cut.files)
        version, files = seen[image]
        assert cut.promised <= version <= cut.committed + 1, f"after {cut.done} operations"
        changes = version - ledger.first_version
        expected = [1500] * (changes // CHANGES_PER_FILE) + [0] * (changes % CHANGES_PER_FILE)
        assert files == expected, f"after {cut.done} operations the tree is not that of version {version}"
        lost += version < cut.committed
    if synchronous == "FULL":
        assert lost == 0, "every commit was synced: nothing that returned may be missing"
    else:
        assert lost, "nobody synced: if nothing is ever lost the cut is not real"
    assert len(seen) > (1 if synchronous == "NORMAL" and not torn else 100)


def test_the_check_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that acknowledges syncs it has not done breaks the promise."""
    ledger = Ledger("FULL", torn=False)
    ledger.disk.lies = True
    broken = [cut.done for cut in ledger.cuts(401) if version_and_files(cut.files)[0] < cut.promised]
    assert broken


def test_a_commit_is_promised_at_its_sync_and_not_before() -> None:
    ledger = Ledger("FULL", torn=False, writes=2)
    promised = {cut.done: cut.promised for cut in ledger.cuts()}
    syncs = [
        done
        for done, io in enumerate(ledger.operations, start=1)
        if io == DiskIo("sync", WAL, 0, 0) and done > ledger.opened
    ]
    raised = [done for done in promised if promised[done] > promised.get(done - 1, ledger.first_version)]
    assert set(raised) <= set(syncs) and len(raised) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks a running cluster")
@pytest.mark.parametrize("torn", [False, True], ids=["kept", "torn"])
@pytest.mark.parametrize("model", list(HostModel))
def test_the_cluster_comes_together_again_after_every_cut(model: HostModel, torn: bool) -> None:
    counts = fork_at_every_cut(model, torn, every=CLUSTER_EVERY)
    assert counts.failures == []
    assert counts.converged == counts.images >= (1 if model is HostModel.MEASURED and not torn else 3)
    assert counts.operations > 2_000
    assert counts.behind, "it never had to catch up: the cut was not real"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks a running cluster")
def test_a_cluster_that_does_not_come_together_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power_cuts, "BACK_AFTER_S", 100.0)
    monkeypatch.setattr(power_cuts, "LIMIT_S", 0.0)
    counts: Counts = fork_at_every_cut(HostModel.MEASURED, torn=False, writes=2, every=5)
    assert counts.failures
    assert counts.converged == 0
