"""The services of the acceptance tests' grid: one that echoes, and one that does what each task input orders, good or bad."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from typing_extensions import override

from bridge.services import FailureException, FatalException, Service, TaskContext

__all__ = ["Echo", "Orders", "order"]

_GATE_SECONDS = 120.0


def order(verb: str, **fields: object) -> bytes:
    """Return the task input that orders ``verb`` from ``Orders``."""
    return msgspec.json.encode({"do": verb, **fields})


def _note(path: str, line: str) -> None:
    """Append a line in one write, so that lines of several processes do not mix."""
    with Path(path).open("ab", buffering=0) as file:
        file.write(f"{line}\n".encode())


class Echo(Service):
    """Gives each input back."""

    @override
    def invoke(self, task: TaskContext) -> bytes:
        """Return the input."""
        return task.payload


class Orders(Service):
    """Does what the task input says: a JSON object with a verb in ``do``; ``runs`` names a file in which the run is noted before anything else."""

    @override
    def invoke(self, task: TaskContext) -> bytes:
        """Note the run, then obey."""
        wanted: dict[str, Any] = msgspec.json.decode(task.payload)
        if "runs" in wanted:
            _note(wanted["runs"], f"{task.task_id} {wanted.get('text', '')}")
        output: bytes = getattr(self, f"_{wanted['do']}")(wanted, task)
        return output

    def _echo(self, wanted: dict[str, Any], _: TaskContext) -> bytes:
        return str(wanted["text"]).encode()

    def _common(self, _: dict[str, Any], task: TaskContext) -> bytes:
        return b"none" if task.session.common_data is None else task.session.common_data

    def _slow(self, wanted: dict[str, Any], _: TaskContext) -> bytes:
        time.sleep(wanted["seconds"])
        return str(wanted["text"]).encode()

    def _gate(self, wanted: dict[str, Any], _: TaskContext) -> bytes:
        """Wait until the test has made the file that ``gate`` names."""
        deadline = time.monotonic() + _GATE_SECONDS
        while not Path(wanted["gate"]).exists():
            if time.monotonic() > deadline:
                raise FatalException("the gate was never opened", 1)
            time.sleep(0.01)
        return str(wanted["text"]).encode()

    def _failure(self, _: dict[str, Any], __: TaskContext) -> bytes:
        raise FailureException("the curve has a hole", 42)

    def _fatal(self, _: dict[str, Any], __: TaskContext) -> bytes:
        raise FatalException("no such currency", -7)

    def _bug(self, _: dict[str, Any], __: TaskContext) -> bytes:
        raise ZeroDivisionError("a programming error")

    def _nonsense(self, _: dict[str, Any], __: TaskContext) -> object:
        return {"not": "bytes"}

    def _exit(self, wanted: dict[str, Any], _: TaskContext) -> bytes:
        sys.exit(wanted["code"])

    def _crash(self, _: dict[str, Any], __: TaskContext) -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        return b"still here"

    def _hang(self, _: dict[str, Any], __: TaskContext) -> bytes:
        while True:
            signal.pause()
