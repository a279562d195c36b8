"""One process' use of the CPG library: calls go down to corosync, answers and events come up.

The connection itself, its rings and its word, is shared memory: putting a request into it or reading an event from it
takes no time and needs nobody. Waking the other side takes two context switches (``IPC_NS``), and the other side must
run. So a client that is stopped leaves its events where they are, and a daemon that is stopped leaves the requests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from totemviz.corosync.effects import CpgConfchg, CpgDelivered, CpgError, CpgPartDelivered
from totemviz.corosync.ipc import ATOMIC_MESSAGE_SIZE_MAX, Connection, Join, Leave, Mcast, Request
from totemviz.corosync.libcpg import PART_RETRY_NS, PartAssembler, PartSender
from totemviz.sim.processes import IPC_NS
from totemviz.sim.threads import COROSYNC, Job

if TYPE_CHECKING:
    from totemviz.sim.host import Host

Answer: TypeAlias = Callable[[CpgError], None]
ClientEvent: TypeAlias = CpgConfchg | CpgDelivered


class CpgHandle:
    """What cpg_initialize gives: at most one connection, opened by the first join, closed for good by ``close``.

    ``on_event`` is called in the process, with an event and the id it has in the timeline. Answers come in the process
    too, in the order of the calls; after ``close``, nothing comes any more.
    """

    def __init__(self, host: Host, process: str, client: int, on_event: Callable[[ClientEvent, int], None]) -> None:
        self.process = process
        self.client = client
        self._host = host
        self._world = host.world
        self._on_event = on_event
        self._life = 0
        self._connection: Connection | None = None
        self._begin()

    def _begin(self) -> None:
        self._life += 1
        self._connection = None
        self._causes: deque[int] = deque()
        self._waiting: deque[Answer] = deque()
        self._bodies: deque[tuple[ClientEvent | CpgPartDelivered, int]] = deque()
        self._reading = False
        self._dispatching = False
        self._parts = PartAssembler()

    # ----------------------------------------------------------------------------------------------------- the calls

    def join(self, pid: int, group: str, cause: int, answer: Answer) -> None:
        """cpg_initialize, if there is no connection yet, and cpg_join; ``group`` has one character per byte."""
        request = Join(pid, group)
        if self._connection is not None:
            self._call(request, cause, answer)
        else:
            self._in_corosync(partial(self._connect, self._life, request, cause, answer))

    def leave(self, cause: int, answer: Answer) -> None:
        """cpg_leave."""
        self._call(Leave(), cause, answer)

    def mcast(self, payload: bytes, cause: int, answer: Answer) -> None:
        """cpg_mcast_joined. A message of at most the atomic size is answered by the library, a larger one part by part.

        OK: the message is in the request ring, nothing more.
        """
        if len(payload) > ATOMIC_MESSAGE_SIZE_MAX:
            self._send_part(PartSender(payload), cause, answer)
        else:
            self._answer(answer, self._send(Mcast(payload), cause))

    def close(self, cause: int, *, died: bool = False) -> None:
        """cpg_finalize, or the process died. Corosync notices when it runs.

        A finalize is a request like others, so what was sent before it still counts; a dead client's ring is not read.
        """
        left = None if died else self._connection
        causes = self._causes
        self._begin()
        self._in_corosync(partial(self._disconnect, left, causes, cause), 0 if died else IPC_NS)

    def lost(self) -> None:
        """Corosync died; the connection is no use any more, and calls it had not answered never return."""
        self._begin()

    # ----------------------------------------------------------------------------------------- between the processes

    def _in_corosync(self, run: Callable[[], None], delay_ns: int = IPC_NS) -> None:
        """Have corosync's main loop do something when it runs; also if this handle is closed meanwhile."""
        post = self._host.processes.post
        if delay_ns:
            self._world.scheduler.after(delay_ns, post, Job(COROSYNC, run))
        else:
            post(Job(COROSYNC, run))

    def _in_process(self, run: Callable[[], None], delay_ns: int = IPC_NS) -> None:
        """Have the process do something, if it has not closed the connection by then."""
        self._world.scheduler.after(delay_ns, self._post, self._life, run)

    def _post(self, life: int, run: Callable[[], None]) -> None:
        def now() -> None:
            if life == self._life:
                run()

        if life == self._life:
            self._host.processes.post(Job(self.process, now))

    def _answer(self, answer: Answer, error: CpgError) -> None:
        """The library returns at once, in whatever thread of the process called it."""
        life = self._life

        def run() -> None:
            if life == self._life:
                answer(error)

        def back() -> None:
            if life == self._life:
                self._host.processes.run_beside(self.process, run)

        self._world.scheduler.after(0, back)

    @property
    def waiting(self) -> int:
        """Events that the process has not read, besides the one it is about to read."""
        return len(self._bodies) - self._reading if self._bodies else 0

    # ------------------------------------------------------------------------------------------------------ requests

    def _connect(self, life: int, request: Join, cause: int, answer: Answer) -> None:
        daemon = self._host.daemon
        if life != self._life:
            return
        if daemon is None:
            self._in_process(partial(answer, CpgError.LIBRARY))
            return
        error, outputs = daemon.connect(self._world.now_ns, self.client)
        self._host.carry_out(COROSYNC, outputs, cause)
        if error is CpgError.OK:
            self._connection = daemon.ipc.connections[self.client]
            self._call(request, cause, answer)
        else:
            self._in_process(partial(answer, error))

    def _disconnect(self, left: Connection | None, causes: deque[int], cause: int) -> None:
        daemon, now_ns = self._host.daemon, self._world.now_ns
        if daemon is None:
            return
        if left is not None and daemon.ipc.connections.get(self.client) is left:
            while left.requests and not left.stopped:
                self._host.carry_out(COROSYNC, daemon.read_request(now_ns, self.client), causes.popleft())
        _, outputs = daemon.cpg_disconnect(now_ns, self.client)
        self._host.carry_out(COROSYNC, outputs, cause)

    def _call(self, request: Request, cause: int, answer: Answer) -> None:
        """A request that is answered: the process waits."""
        error = self._send(request, cause)
        if error is CpgError.OK:
            self._waiting.append(answer)
        else:
            self._answer(answer, error)

    def _send(self, request: Request, cause: int) -> CpgError:
        """Put a request into the ring and wake corosync."""
        if self._connection is None:
            return CpgError.LIBRARY if self._host.daemon is None else CpgError.BAD_HANDLE
        error = self._connection.send(request)
        if error is CpgError.OK:
            self._causes.append(cause)
            self._wake_corosync(IPC_NS)
        return error

    def _send_part(self, sender: PartSender, cause: int, answer: Answer) -> None:
        def answered(error: CpgError) -> None:
            if sender.answered(error):
                self._send_part(sender, cause, answer)
            else:
                answer(error)

        error = self._send(sender.request, cause)
        if error is CpgError.OK:
            self._waiting.append(answered)
        elif error is CpgError.TRY_AGAIN and sender.refused():
            self._in_process(partial(self._send_part, sender, cause, answer), PART_RETRY_NS)
        else:
            self._answer(answer, error)

    def senders_may_go_on(self) -> None:
        """Flow control is off again: corosync reads what is left in the ring."""
        if self._connection is not None and self._connection.requests:
            self._wake_corosync(0)

    def _wake_corosync(self, delay_ns: int) -> None:
        if not self._dispatching:
            self._dispatching = True
            job = Job(COROSYNC, partial(self._dispatch, self._life))
            self._world.scheduler.after(delay_ns, self._host.processes.post, job)

    def _dispatch(self, life: int) -> None:
        """The connection is readable: corosync reads a few requests, fewer the fuller its send queue is."""
        daemon, connection = self._host.daemon, self._connection
        if life != self._life or daemon is None or connection is None:
            return
        self._dispatching = False
        thread = self._host.processes.threads[COROSYNC]
        for _ in range(daemon.ipc.requests_per_event):
            if connection.stopped or not connection.requests or thread.blocked:
                break
            outputs = daemon.read_request(self._world.now_ns, self.client)
            self._host.carry_out(COROSYNC, outputs, self._causes.popleft())
        if connection.requests and not connection.stopped:
            self._wake_corosync(0)

    def answered(self, error: CpgError) -> None:
        """Corosync has answered the oldest request."""
        if self._waiting:
            self._in_process(partial(self._waiting.popleft(), error))

    # -------------------------------------------------------------------------------------------------------- events

    def deliver(self, body: ClientEvent | CpgPartDelivered, event: int) -> None:
        """Corosync has put an event into the ring, or behind it."""
        if self._connection is not None:
            self._bodies.append((body, event))
            self.wake()

    def wake(self) -> None:
        """The process may have something to read."""
        if not self._reading and self._connection is not None and self._connection.readable:
            self._reading = True
            read = Job(self.process, partial(self._read, self._life))
            self._world.scheduler.after(IPC_NS, self._host.processes.post, read)

    def _read(self, life: int) -> None:
        """cpg_dispatch: one event, then another turn."""
        connection = self._connection
        if life != self._life or connection is None:
            return
        self._reading = False
        if not self._bodies or not connection.readable:
            return
        body, event = self._bodies.popleft()
        if connection.take_event():
            self._in_corosync(partial(self._readable, event))
        shown = self._parts.event(body)
        if shown is not None:
            if shown is not body:
                event = self._host.record(event, shown)
            self._on_event(shown, event)
        if life == self._life and self._bodies and connection.readable:
            self._reading = True
            self._world.scheduler.after(0, self._host.processes.post, Job(self.process, partial(self._read, life)))

    def _readable(self, event: int) -> None:
        """The socket can be written again: corosync's main loop wakes and looks at its backlogs."""
        if self._host.daemon is not None:
            self._host.carry_out(COROSYNC, self._host.daemon.client_readable(self._world.now_ns), event)
