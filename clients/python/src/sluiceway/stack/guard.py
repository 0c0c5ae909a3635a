"""Ends the stack's processes when the program that started them dies without doing so. Runs alone, by path, with the standard library only.

Its standard input is a pipe from that program: a line ``+PID`` or ``-PID`` for each process, and its end when the program is gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

__all__ = ["main"]

_GRACE = 15.0
_PAUSE = 0.05


def born(pid: int) -> str:
    """Return when a process began, so that another one with its number is not taken for it; empty when it does not live."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    # A zombie has ended, whoever has not asked for it yet (proc(5): state is the third field, start time the 22nd).
    return "" if fields[0] == "Z" else fields[19]


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number) if number == signal.SIGKILL else os.kill(pid, number)


def _end(known: dict[int, str]) -> None:
    """End processes in the reverse order of their start, each gently first."""
    for pid, birth in reversed(known.items()):
        if not birth or born(pid) != birth:
            continue
        _send(pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE
        while born(pid) == birth and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        _send(pid, signal.SIGKILL)


def main() -> None:
    """Listen until the pipe ends, then clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    known: dict[int, str] = {}
    for line in sys.stdin:
        pid = int(line[1:])
        if line.startswith("+"):
            known[pid] = born(pid)
        else:
            known.pop(pid, None)
    _end(known)


if __name__ == "__main__":
    main()
