"""Services that do what a test tells them: each task input is a MessagePack map with a verb."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from typing_extensions import override

from bridge.services import FailureException, FatalException, Service, ServiceError, SessionContext, TaskContext

__all__ = ["Diary", "Fragile", "NotAService", "Probe", "Unwilling"]


def _note(path: str, line: str) -> None:
    """Append a line in one write, so that lines of several processes do not mix."""
    with Path(path).open("ab", buffering=0) as file:
        file.write(f"{line}\n".encode())


class Probe(Service):
    """Runs the verb that the task input names."""

    @override
    def session_enter(self, session: SessionContext) -> None:
        """Keep what the session brings."""
        self._session = session

    @override
    def invoke(self, task: TaskContext) -> bytes:
        """Note the run where asked to, then do it."""
        order: dict[str, Any] = msgspec.msgpack.decode(task.payload)
        if "note" in order:
            _note(order["note"], task.task_id)
        output: bytes = getattr(self, f"_{order['do']}")(order, task)
        return output

    def _echo(self, order: dict[str, Any], _: TaskContext) -> bytes:
        return bytes(order.get("data", b""))

    def _describe(self, _: dict[str, Any], task: TaskContext) -> bytes:
        return msgspec.json.encode([task.session.session_id, task.session.session_tag, task.task_id, task.tag])

    def _common(self, _: dict[str, Any], task: TaskContext) -> bytes:
        return b"none" if task.session.common_data is None else task.session.common_data

    def _pid(self, _: dict[str, Any], __: TaskContext) -> bytes:
        return str(os.getpid()).encode()

    def _sleep(self, order: dict[str, Any], _: TaskContext) -> bytes:
        time.sleep(order["seconds"])
        return b"slept"

    def _await_file(self, order: dict[str, Any], _: TaskContext) -> bytes:
        """Say that the run has begun, then wait for the test to open the gate."""
        Path(order["gate"] + ".reached").touch()
        while not Path(order["gate"]).exists():
            time.sleep(0.002)
        return b"through"

    def _fail_until(self, order: dict[str, Any], _: TaskContext) -> bytes:
        """Fail for the given number of runs, counted in a file."""
        _note(order["count"], "run")
        if len(Path(order["count"]).read_text().splitlines()) <= order["runs"]:
            raise FailureException("not yet", 7)
        return b"at last"

    def _failure(self, order: dict[str, Any], _: TaskContext) -> bytes:
        raise FailureException(order.get("message", "no luck"), 42)

    def _fatal(self, _: dict[str, Any], __: TaskContext) -> bytes:
        raise FatalException("never", -3)

    def _service_error(self, _: dict[str, Any], __: TaskContext) -> bytes:
        raise ServiceError("not today", 2**40, fatal=True)

    def _bug(self, _: dict[str, Any], __: TaskContext) -> bytes:
        raise ZeroDivisionError("a bug")

    def _unprintable(self, _: dict[str, Any], __: TaskContext) -> bytes:
        class Nasty(Exception):  # noqa: N818 (a test's own)
            @override
            def __str__(self) -> str:
                raise RuntimeError

        raise Nasty

    def _surrogate(self, _: dict[str, Any], __: TaskContext) -> bytes:
        raise FatalException("\ud800 half a letter")

    def _exit(self, order: dict[str, Any], _: TaskContext) -> bytes:
        sys.exit(order["code"])

    def _vanish(self, order: dict[str, Any], _: TaskContext) -> bytes:
        os._exit(order["code"])

    def _signal(self, order: dict[str, Any], _: TaskContext) -> bytes:
        os.kill(os.getpid(), order["signal"])
        return b"still here"

    def _hang(self, order: dict[str, Any], _: TaskContext) -> bytes:
        """Never come back: in Python, or in C with the interpreter's lock held."""
        _note(order["pids"], str(os.getpid())) if "pids" in order else None
        if order.get("in_c"):
            ctypes.PyDLL(None).pause()
        while True:
            signal.pause()

    def _nonsense(self, _: dict[str, Any], __: TaskContext) -> object:
        return {"not": "bytes"}

    def _big(self, order: dict[str, Any], _: TaskContext) -> bytes:
        return bytes(order["size"])


class Diary(Service):
    """Notes each call of its life cycle in the file that its sessions' common data name, and answers with the common data."""

    def __init__(self) -> None:
        self._file = ""
        self._early = ["create"]

    def _write(self, line: str) -> None:
        for early in self._early:
            _note(self._file, early)
        self._early.clear()
        _note(self._file, line)

    @override
    def session_enter(self, session: SessionContext) -> None:
        """Note it; fail as often as the second word of the common data says."""
        self._file, name, *rest = (session.common_data or b"").decode().split()
        self._write(f"enter {name}")
        entered = Path(self._file).read_text().splitlines().count(f"enter {name}")
        if rest and rest[0] == "exit":
            os._exit(9)
        if rest and rest[0] == "hang":
            signal.pause()
        if rest and rest[0] == "fatal":
            raise FatalException("no entry, ever", 12)
        if rest and entered <= int(rest[0]):
            raise FailureException("no entry", 11)

    @override
    def session_update(self, session: SessionContext) -> None:
        """Note it."""
        self._file, name, *_ = (session.common_data or b"").decode().split()
        self._write(f"update {name}")

    @override
    def invoke(self, task: TaskContext) -> bytes:
        """Note it."""
        self._write(f"invoke {task.tag}")
        return task.session.common_data or b""

    @override
    def session_leave(self) -> None:
        """Note it."""
        self._write("leave")

    @override
    def destroy(self) -> None:
        """Note it."""
        self._write("destroy")


class Unwilling(Service):
    """Cannot be created."""

    @override
    def create(self) -> None:
        """Refuse."""
        raise RuntimeError("no licence")

    @override
    def invoke(self, task: TaskContext) -> bytes:
        """Never called."""
        return task.payload


class Fragile(Service):
    """Creates itself once for each line of a file that the test provides, and dies with each task."""

    @override
    def create(self) -> None:
        """Note the attempt; fail from the second one on."""
        file = os.environ["FRAGILE_FILE"]
        _note(file, "create")
        if len(Path(file).read_text().splitlines()) > 1:
            raise RuntimeError("used up")

    @override
    def invoke(self, task: TaskContext) -> bytes:
        """Die."""
        os._exit(len(task.payload))


class NotAService:
    """Has the verbs but not the base class."""
