"""When the processes of a host run: their threads and timers, what blocks a thread, SIGSTOP and SIGCONT."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from totemviz.corosync.ipc import FLUSH_TIMER
from totemviz.pmxcfs.machine import Pmxcfs
from totemviz.sim.main_loop import IPC_LEVELS, LoopLevel, MainLoop
from totemviz.sim.threads import (
    COROSYNC,
    NOTICEABLE_BLOCK_NS,
    PMXCFS,
    QUIET_TIMERS,
    HostModel,
    Job,
    Thread,
    Timers,
    Wait,
)
from totemviz.totem import effects as tt
from totemviz.trace import events as ev

if TYPE_CHECKING:
    from totemviz.sim.host import Host

IPC_NS = 10_000
"""A request or event between two processes of one host: two context switches."""


class Processes:
    """The threads and timers of one host."""

    def __init__(self, host: Host, model: HostModel) -> None:
        self._host = host
        self._world = host.world
        self.threads: dict[str, Thread] = {}
        self.timers = Timers(self._world.scheduler.timer_at, self._timer_due)
        self._loop: MainLoop | None = None
        self._wanted: tuple[HostModel, int] | None = None
        self._arrange(model)

    def _arrange(self, model: HostModel) -> None:
        """Put the daemons on threads of their own, or on one."""
        self.threads |= {process: thread for thread in map(Thread, model.threads) for process in thread.processes}
        # the one loop of the article model is nobody's real loop
        self._loop = MainLoop(self.threads[COROSYNC], self._expire) if model is HostModel.MEASURED else None

    def change_model(self, model: HostModel, cause: int) -> None:
        """Another host model, as soon as no daemon of this host waits: what has begun ends as it began."""
        self._wanted = model, cause
        self._change_if_free()

    def _change_if_free(self) -> None:
        if self._wanted is None or any(self.threads[process].blocked for process in (COROSYNC, PMXCFS)):
            return
        (model, cause), self._wanted = self._wanted, None
        self._arrange(model)
        self._host.model_changed(model, cause)

    def add(self, process: str) -> None:
        """A program has started: a thread of its own."""
        self.threads[process] = Thread((process,))

    def remove(self, process: str) -> None:
        """A program is gone."""
        self.threads.pop(process, None)

    def post(self, job: Job) -> None:
        """Give a process something to do, on the thread it has by now; nothing if the program is gone."""
        thread = self.threads.get(job.process)
        if thread is not None:
            thread.post(job)

    def run_beside(self, process: str, run: Callable[[], None]) -> None:
        """Run something of a process that has a thread of its own, as a FUSE request has in pmxcfs.

        It waits only while the process is stopped, or if the host model knows one loop for everything.
        """
        thread = self.threads[process]
        if thread.paused or (thread.blocked and len(thread.processes) > 1):
            thread.post(Job(process, run))
        else:
            run()

    def bury(self, process: str) -> None:
        """The process is gone, and whatever waited for it."""
        thread = self.threads[process]
        self.timers.cancel_all(process)
        thread.inbox = deque(job for job in thread.inbox if job.process != process)
        thread.due_timers = [due for due in thread.due_timers if due[0] != process]
        thread.rest = deque(item for item in thread.rest if item[0] != process)
        if self._loop is not None:
            self._loop.forget(process)

    def release(self, process: str) -> None:
        """A thread on which nobody lives any more waits for nothing."""
        thread = self.threads[process]
        if thread.blocked and not thread.paused and not any(self._host.alive(name) for name in thread.processes):
            thread.blocked, thread.wait = False, None
            self._change_if_free()

    def power_off(self) -> None:
        """Every thread is free again, and remembers nothing."""
        for thread in self.threads.values():
            thread.blocked = thread.paused = False
            thread.wait = None
            thread.announced_event = -1
            thread.inbox.clear()
        self._change_if_free()

    # ---------------------------------------------------------------------------------------------- timers and jobs

    def _timer_due(self, process: str, timer: str) -> None:
        thread = self.threads[process]
        if thread.blocked or (timer != FLUSH_TIMER and self._flush_waits(process)):
            thread.due_timers.append((process, timer))
            return
        self._expire(process, timer)
        self.pass_ends(thread)

    def _flush_waits(self, process: str) -> bool:
        """Does corosync's loop have a backlog to flush? Then it sleeps up to 50 ms without minding timers."""
        daemon = self._host.daemon
        return process == COROSYNC and daemon is not None and daemon.ipc.flush_waits

    def pass_ends(self, thread: Thread) -> None:
        """The next pass of a main loop begins with the timers that came due while it did not look at them."""
        while thread.due_timers and not thread.blocked:
            self._expire(*thread.due_timers.pop(0))

    def _expire(self, process: str, timer: str) -> None:
        now_ns = self._world.now_ns
        due = self.timers.take(process, timer, now_ns)
        machine = self._host.daemon if process == COROSYNC else self._host.pmxcfs
        if due is None or machine is None:
            return
        deadline_ns, cause = due
        if timer in (tt.TotemTimer.TOKEN_LOSS, tt.TotemTimer.TOKEN_WARNING) and self._host.ring is not None:
            cause = self._world.token_obstacle(self._host.ring.ring_id, cause)
        outputs = machine.expire(now_ns, timer)
        if outputs and (timer not in QUIET_TIMERS or any(type(output) is tt.Log for output in outputs)):
            cause = self._host.record(cause, ev.TimerExpired(process, timer, now_ns - deadline_ns))
        self._host.carry_out(process, outputs, cause)

    def post_pmxcfs(self, cause: int, handle: Callable[[Pmxcfs], Iterable[Any]], delay_ns: int = IPC_NS) -> None:
        """Give pmxcfs' main loop something to do, unless it dies before."""
        life = self._host.pmxcfs_life

        def run() -> None:
            if self._host.pmxcfs is not None and self._host.pmxcfs_life == life:
                self._host.carry_out(PMXCFS, handle(self._host.pmxcfs), cause)

        self._world.scheduler.after(delay_ns, self.post, Job(PMXCFS, run))

    # ------------------------------------------------------------------------------------------------------- blocking

    def block(
        self, process: str, cost_ns: int | None, why: str, cause: int, done: Callable[[], None] | None = None
    ) -> Callable[[], None]:
        """The process waits in the kernel: its thread does nothing, probably for ``cost_ns`` (None: nobody knows).

        Returns what ends the wait: ``done``, unless the process has died meanwhile, then the thread goes on. It cannot
        be ended twice, nor after the host's end.
        """
        thread = self.threads[process]
        thread.blocked = True
        thread.wait = wait = Wait(process)
        thread.blocked_since_ns = self._world.now_ns
        thread.announced_event = -1
        if cost_ns is None or cost_ns >= NOTICEABLE_BLOCK_NS:
            thread.announced_event = self._host.record(cause, ev.ProcessBlocked(thread.processes, why))
            if COROSYNC in thread.processes:
                self._host.hinder_token(thread.announced_event)
        life = self._host.pmxcfs_life if process == PMXCFS else -1

        def over() -> None:
            if thread.wait is not wait:
                return
            thread.wait = None
            if done is not None and life in (-1, self._host.pmxcfs_life) and self._host.alive(process):
                done()
            for signal in wait.pending:
                signal()
            if not thread.paused and any(map(self._host.alive, thread.processes)):
                self._resume(thread, slept=False)

        return over

    def defer_signal(self, process: str, signal: Callable[[], None]) -> bool:
        """Whether the process waits in the kernel, where no signal reaches it: it gets it when the wait is over."""
        thread = self.threads.get(process)
        if thread is None or thread.wait is None or thread.wait.process != process:
            return False
        thread.wait.pending.append(signal)
        return True

    def pause(self, process: str, duration_ns: int, cause: int, why: str = "stopped (SIGSTOP)") -> None:
        """SIGSTOP now, SIGCONT after ``duration_ns``."""
        if self._host.alive(process):
            self._stop(self.threads[process], duration_ns, cause, why)

    def freeze(self, duration_ns: int, cause: int) -> None:
        """The whole host is not scheduled for ``duration_ns``: no thread runs, no process notices."""
        for thread in dict.fromkeys(self.threads.values()):
            if any(map(self._host.alive, thread.processes)):
                self._stop(thread, duration_ns, cause, "not scheduled: the whole host stands still")

    def _stop(self, thread: Thread, duration_ns: int, cause: int, why: str) -> None:
        if thread.paused:
            return
        thread.blocked = thread.paused = True
        thread.blocked_since_ns = self._world.now_ns
        thread.announced_event = self._host.record(cause, ev.ProcessBlocked(thread.processes, why))
        if COROSYNC in thread.processes:
            self._host.hinder_token(thread.announced_event)

        boot = self._host.boots

        def resume() -> None:
            if boot == self._host.boots:
                thread.paused = False
                if thread.wait is None:  # else it still waits in the kernel
                    self._resume(thread, slept=True)

        self._world.scheduler.after(duration_ns, resume)

    def _resume(self, thread: Thread, *, slept: bool) -> None:
        """Go on: first with what was interrupted, then with what waits; ``slept``: it was waiting for input before."""
        self._catch_up(thread, slept=slept)
        self._change_if_free()

    def _catch_up(self, thread: Thread, *, slept: bool) -> None:
        thread.blocked = False
        loop = self._loop if COROSYNC in thread.processes else None
        if thread.announced_event >= 0:
            unread = sum(map(self._host.local_ipc.waiting, thread.processes))
            waiting = len(thread.inbox) + len(thread.due_timers) + unread + (len(loop) if loop is not None else 0)
            blocked_ns = self._world.now_ns - thread.blocked_since_ns
            self._host.record(thread.announced_event, ev.ProcessResumed(thread.processes, blocked_ns, waiting))
            thread.announced_event = -1
        slept = slept and not thread.rest
        while thread.rest and not thread.blocked:
            self._host.carry_on(*thread.rest.popleft())
        if loop is not None:
            daemon = self._host.daemon
            level = IPC_LEVELS[daemon.ipc.flow.level] if daemon is not None else LoopLevel.MED
            loop.catch_up(level, slept=slept)
            return
        self.pass_ends(thread)
        while thread.inbox and not thread.blocked:
            thread.inbox.popleft().run()
