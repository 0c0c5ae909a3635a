"""One process of a stack: started with its own log, watched until ready, stopped or killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from sluiceway.errors import SluicewayError
from sluiceway.stack import guard

__all__ = ["Guard", "Program", "StackError", "run_tool"]

_PAUSE: Final = 0.05
_TAIL: Final = 2000
_STOP_SECONDS: Final = 30.0


class StackError(SluicewayError):
    """Raised when a stack cannot be started; says why, and in which log to look."""


class Guard:
    """The program that cleans up after us should we be killed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it."""
        command = [sys.executable, "-I", str(Path(guard.__file__))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)  # noqa: S603 - our own program

    def tell(self, sign: str, pid: int) -> None:
        """Tell of a process that was started (``+``) or has ended (``-``)."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(f"{sign}{pid}\n")
            self._process.stdin.flush()

    def stop(self) -> None:
        """End it; everything that it was told of should have ended before."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            process.wait(_STOP_SECONDS)


class Program:
    """One process; it can be started again after it was stopped or killed.

    Args:
        name: Such as ``gateway-1``.
        command: What is run.
        log: Where its output is appended.
        ready_event: The ``event`` of the JSON line that it prints when it is ready.
        keeper: Cleans up after us.
        environment: Variables beside ours.
    """

    def __init__(self, name: str, command: Sequence[str], *, log: Path, ready_event: str, keeper: Guard, environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.log = log
        self._command = tuple(command)
        self._ready_event = ready_event
        self._keeper = keeper
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._from = 0
        self.announcement: Mapping[str, object] = {}
        """The line that it printed when it was ready."""

    @property
    def pid(self) -> int:
        """The process id; 0 when it does not run."""
        return self._process.pid if self._process is not None and self.running else 0

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def status_url(self) -> str | None:
        """The address of its plain HTTP listener with ``/metrics``, when it said so."""
        port = self.announcement.get("status_port")
        return f"http://127.0.0.1:{port}" if isinstance(port, int) else None

    def start(self) -> None:
        """Start the process; ``wait_ready`` tells when it serves."""
        if self.running:
            return
        self.announcement = {}
        self._from = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            # A session of its own keeps Ctrl-C away from it: we stop everything in our order.
            self._process = subprocess.Popen(  # noqa: S603 - the stack's own programs
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self._environment},
            )
        self._keeper.tell("+", self._process.pid)

    def wait_ready(self, within: float) -> None:
        """Wait until the process has said that it is ready, and its ``/readyz`` agrees.

        Raises:
            StackError: It ended, or did not get ready in time.
        """
        deadline = time.monotonic() + within
        self._until(self._announced, deadline)
        if self.status_url is not None:
            self._until(self._agrees, deadline)

    def _until(self, done: Callable[[], bool], deadline: float) -> None:
        while not done():
            if not self.running:
                raise StackError(f"{self.name} ended while it started; its log {self.log} ends with:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise StackError(f"{self.name} did not get ready in time; its log {self.log} ends with:\n{self.tail()}")
            time.sleep(_PAUSE)

    def _announced(self) -> bool:
        with self.log.open("rb") as log:
            log.seek(self._from)
            for line in log:
                if self._ready_event.encode() in line and line.endswith(b"\n"):
                    self.announcement = _event(line)
        return bool(self.announcement)

    def _agrees(self) -> bool:
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{self.status_url}/readyz", timeout=2.0):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def tail(self) -> str:
        """Return the end of the log of the latest start."""
        with self.log.open("rb") as log:
            log.seek(max(self._from, self.log.stat().st_size - _TAIL))
            return log.read().decode(errors="replace").strip()

    def terminate(self) -> None:
        """Ask the process to end in its own order; ``wait_end`` waits for it."""
        if self._process is not None and self.running:
            self._process.terminate()

    def wait_end(self, within: float = _STOP_SECONDS) -> int:
        """Wait until the process has ended, and kill it when it takes too long; returns its exit code."""
        process = self._process
        if process is None:
            return 0
        try:
            code = process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            code = process.wait()
        self._keeper.tell("-", process.pid)
        return code

    def stop(self, within: float = _STOP_SECONDS) -> int:
        """End the process in its own order; returns its exit code."""
        self.terminate()
        return self.wait_end(within)

    def kill(self) -> None:
        """End the process and all it started at once, as a crash would (SIGKILL)."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._keeper.tell("-", process.pid)

    def pause(self) -> None:
        """Stop the process in its tracks (SIGSTOP); ``proceed`` lets it go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def proceed(self) -> None:
        """Let a paused process go on (SIGCONT)."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)


def _event(line: bytes) -> Mapping[str, object]:
    try:
        value = json.loads(line)
    except ValueError:
        return {"event": "ready"}
    return value if isinstance(value, dict) else {"event": "ready"}


def run_tool(arguments: Sequence[str], *, what: str, within: float = 120.0) -> str:
    """Run one of the server's own commands to its end; returns what it printed.

    Raises:
        StackError: It failed, or the server's rooms are not installed.
    """
    command = [sys.executable, "-m", *arguments]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=within, check=False)  # noqa: S603 - our own programs
    except subprocess.TimeoutExpired as exc:
        raise StackError(f"{what}: no end within {within:g} s") from exc
    if done.returncode != 0:
        raise StackError(f"{what}: {(done.stderr or done.stdout).strip()[-_TAIL:]}")
    return done.stdout
