"""The order in which a daemon that was stopped takes what waited for it."""

from __future__ import annotations

from totemviz.sim.main_loop import LoopLevel, MainLoop
from totemviz.sim.threads import Job, Thread


class Bench:
    """A thread with things waiting, and what was done in which order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.thread = Thread(("corosync",))
        self.loop = MainLoop(self.thread, lambda _, timer: self.done.append(timer))

    def wait(self, *, datagrams: int = 0, timers: int = 0, clients: int = 0) -> None:
        for number in range(datagrams):
            self.thread.inbox.append(Job("corosync", lambda n=number: self.done.append(f"datagram {n}"), lambda: None))
        for number in range(clients):
            self.thread.inbox.append(Job("corosync", lambda n=number: self.done.append(f"client {n}")))
        self.thread.due_timers.extend(("corosync", f"timer {number}") for number in range(timers))


def test_after_a_stop_one_datagram_comes_before_the_timers() -> None:
    bench = Bench()
    bench.wait(datagrams=3, timers=2)
    bench.loop.catch_up(LoopLevel.HIGH, slept=True)
    assert bench.done == ["datagram 0", "timer 0", "timer 1", "datagram 1", "datagram 2"]


def test_after_a_wait_in_a_handler_the_timers_come_first() -> None:
    bench = Bench()
    bench.wait(datagrams=2, timers=2)
    bench.loop.catch_up(LoopLevel.HIGH, slept=False)
    assert bench.done == ["timer 0", "timer 1", "datagram 0", "datagram 1"]


def test_a_level_has_four_items_a_pass() -> None:
    bench = Bench()
    bench.wait(datagrams=1, timers=6)
    bench.loop.catch_up(LoopLevel.HIGH, slept=False)
    assert bench.done == [*(f"timer {number}" for number in range(6)), "datagram 0"]
    bench = Bench()
    bench.wait(datagrams=2, clients=6)
    bench.loop.catch_up(LoopLevel.HIGH, slept=False)
    assert bench.done[:5] == ["client 0", "client 1", "client 2", "client 3", "datagram 0"]


def test_clients_wait_behind_the_ring_when_the_send_queue_is_full() -> None:
    bench = Bench()
    bench.wait(datagrams=2, clients=2)
    bench.loop.catch_up(LoopLevel.LOW, slept=False)
    assert bench.done.index("client 0") > bench.done.index("datagram 0")


def test_a_thread_that_blocks_again_keeps_the_rest() -> None:
    bench = Bench()
    bench.wait(datagrams=1, timers=3)
    bench.thread.inbox.appendleft(Job("corosync", lambda: setattr(bench.thread, "blocked", True)))
    bench.loop.catch_up(LoopLevel.HIGH, slept=False)
    assert bench.done == []
    assert len(bench.loop) == 4
    bench.loop.forget("pmxcfs")
    bench.thread.blocked = False
    bench.loop.catch_up(LoopLevel.HIGH, slept=False)
    assert bench.done == ["timer 0", "timer 1", "timer 2", "datagram 0"]
    bench.wait(datagrams=1)
    bench.loop.forget("corosync")
    assert len(bench.loop) == 0
