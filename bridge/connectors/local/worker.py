"""A worker process: hosts one instance of a service and runs the tasks that the bridge sends, one at a time.

Started by the bridge as ``python -m bridge.connectors.local.worker SOCKET PAGE`` with two inherited file descriptors. It ends with the
bridge, even one that was killed and even while its service hangs: the kernel sends the signal where it can (Linux), and a thread waits
for the hang-up of the socket.
"""

from __future__ import annotations

import ctypes
import importlib
import mmap
import os
import select
import signal
import socket
import sys
import threading
import time
from typing import Final

from bridge.connectors.local.frames import PAGE_BYTES, PHASE, PROGRESS, SINCE, SKIP, Context, Failure, Forget, FrameReader, Ready, Results, Start, Work
from bridge.connectors.local.outbox import Outbox
from bridge.services import Service, ServiceError, SessionContext, TaskContext

__all__ = ["ServiceHost", "main"]

_MESSAGE_BYTES: Final = 4096
_PR_SET_PDEATHSIG: Final = 1


def _text(error: BaseException) -> str:
    """The message of an exception, at most 4 KiB of UTF-8; never its traceback."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 (a service's own __str__ may do anything, and its failure must not hide the first one)
        text = ""
    return text.encode("utf-8", "replace")[:_MESSAGE_BYTES].decode("utf-8", "ignore")


def _failure(error: Exception, code: str) -> Failure:
    """How an exception of the service reads for the client."""
    if not isinstance(error, ServiceError):
        return Failure(code, type(error).__name__[:256], 0, _text(error), retry=False)
    code_given: object = error.code
    number = code_given if isinstance(code_given, int) and -(2**31) <= code_given < 2**31 else 0
    return Failure(code, "FatalException" if error.fatal else "FailureException", number, _text(error), retry=not error.fatal)


class ServiceHost:
    """Leads one service instance through its life cycle.

    Args:
        service: The instance, not yet created.
        outbox: Where answers go.
        page: The shared page.
        output_bytes: The largest output that is passed on.
    """

    def __init__(self, *, service: Service, outbox: Outbox, page: memoryview, output_bytes: int) -> None:
        self._service = service
        self._outbox = outbox
        self._page = page
        self._output_bytes = output_bytes
        self._begun = 0
        self._sessions: dict[bytes, tuple[int, SessionContext]] = {}
        self._bound: tuple[bytes, int] | None = None

    def run(self, work: Work) -> None:
        """Enter the bundle's session where needed, then run its tasks in turn."""
        entered = 0.0
        if work.context is not None:
            self._sessions[work.session] = work.version, _session(work.context)
        if self._bound != (work.session, work.version):
            began = time.monotonic()
            problem = self._enter(work)
            entered = time.monotonic() - began
            if problem is not None:
                self._begun += len(work.ids)
                self._page[PROGRESS] = 2 * self._begun
                self._outbox.send(Results([None] * len(work.ids), False, 0.0, problem, entered))  # noqa: FBT003 (array-like record)
                return
        self._outbox.open(many=len(work.ids) > 1, entered=entered)
        try:
            self._invoke_all(work)
        finally:
            self._outbox.close()

    def _invoke_all(self, work: Work) -> None:
        session = self._sessions[work.session][1]
        page, outbox, number = self._page, self._outbox, self._begun
        for task_id, tag, payload in zip(work.ids, work.tags, work.payloads, strict=True):
            if number < page[SKIP]:
                outbox.add(None)
            else:
                # The time is written before the number: a reader in between sees an older task with a newer time, which is harmless.
                page[SINCE] = now = time.monotonic_ns()
                page[PROGRESS] = 2 * number + 1
                outbox.relieve(now)
                outbox.add(self._invoke(TaskContext(session=session, task_id=task_id.hex(), tag=tag, payload=payload)))
            number += 1
            page[PROGRESS] = 2 * number
            self._begun = number

    def _invoke(self, task: TaskContext) -> bytes | Failure:
        try:
            output: object = self._service.invoke(task)
        except Exception as error:  # noqa: BLE001 (the outermost edge of the service: whatever it raises is the task's outcome)
            return _failure(error, "service-exception")
        if not isinstance(output, bytes):
            return Failure("invalid-output", "FatalException", 0, f"the service returned {type(output).__name__[:256]}, not bytes", retry=False)
        if len(output) > self._output_bytes:
            return Failure("output-too-large", "FatalException", 0, f"the output has {len(output)} bytes; the limit is {self._output_bytes}", retry=False)
        return output

    def _enter(self, work: Work) -> Failure | None:
        """Bind to the bundle's session; None when that went well."""
        self._phase(1)
        try:
            if self._bound is not None and self._bound[0] == work.session:
                self._service.session_update(self._sessions[work.session][1])
            else:
                self._leave()
                self._service.session_enter(self._sessions[work.session][1])
        except Exception as error:  # noqa: BLE001 (as above)
            self._bound = None
            failure = _failure(error, "session-enter-failed")
            return failure if isinstance(error, ServiceError) else Failure(failure.code, failure.error_type, 0, failure.message, retry=True)
        finally:
            self._phase(0)
        self._bound = work.session, work.version
        return None

    def _phase(self, phase: int) -> None:
        self._page[SINCE] = time.monotonic_ns()
        self._page[PHASE] = phase

    def _leave(self) -> None:
        if self._bound is None:
            return
        self._bound = None
        try:
            self._service.session_leave()
        except Exception as error:  # noqa: BLE001 (as above; nobody waits for the answer)
            print(f"session_leave: {type(error).__name__}", file=sys.stderr)  # noqa: T201 (the only log a worker process has)

    def forget(self, session: bytes) -> None:
        """Leave a session that has ended and drop what is known of it."""
        if self._bound is not None and self._bound[0] == session:
            self._phase(1)
            self._leave()
            self._phase(0)
        self._sessions.pop(session, None)

    def stop(self) -> None:
        """Leave and destroy."""
        self._leave()
        self._service.destroy()


def _session(context: Context) -> SessionContext:
    return SessionContext(session_id=context.session_id, session_tag=context.tag, common_data=context.common_data)


def _load(start: Start) -> Service:
    """Import the service and make its instance.

    Raises:
        TypeError: The entry point names something that is no service.
    """
    sys.path[:0] = start.python_path
    module, _, name = start.service.partition(":")
    kind = getattr(importlib.import_module(module), name)
    if not (isinstance(kind, type) and issubclass(kind, Service)):
        raise TypeError(f"{start.service} is not a subclass of bridge.services.Service")
    service = kind()
    service.create()
    return service


def _die_with_bridge(connection: socket.socket) -> None:
    """Make sure that this process never outlives the bridge."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_wait_for_hangup, args=(connection.fileno(),), name="hang-up", daemon=True).start()


def _wait_for_hangup(descriptor: int) -> None:
    # With an empty event mask poll() reports hang-up and errors only, so that this thread sleeps for as long as the bridge lives.
    poll = select.poll()
    poll.register(descriptor, 0)
    poll.poll()
    os._exit(0)


def _serve(reader: FrameReader, host: ServiceHost) -> None:
    while True:
        frame = reader.read()
        if isinstance(frame, Work):
            host.run(frame)
        elif isinstance(frame, Forget):
            host.forget(frame.session)
        elif frame is None:
            os._exit(0)
        else:
            host.stop()
            return


def main(arguments: list[str]) -> int:
    """Run until the bridge says stop or is gone. ``arguments``: the descriptors of the socket and of the shared page.

    Returns:
        0 after a stop, 1 when the service could not be created.
    """
    connection = socket.socket(fileno=int(arguments[0]))
    _die_with_bridge(connection)
    # What the service starts in its turn must not keep the bridge's socket open.
    connection.set_inheritable(False)
    page = memoryview(mmap.mmap(int(arguments[1]), PAGE_BYTES)).cast("Q")
    os.close(int(arguments[1]))
    reader, outbox = FrameReader(connection), Outbox(connection=connection, page=page)
    start = reader.read()
    if not isinstance(start, Start):
        return 1
    try:
        service = _load(start)
    except Exception as error:  # noqa: BLE001 (the outermost edge of the service: the bridge reports it)
        outbox.send(Ready(f"{type(error).__name__}: {_text(error)}"))
        return 1
    threading.Thread(target=outbox.watch, name="outbox", daemon=True).start()
    outbox.send(Ready())
    _serve(reader, ServiceHost(service=service, outbox=outbox, page=page, output_bytes=start.output_bytes))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
