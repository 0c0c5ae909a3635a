"""Remembers the processes below this one, so that afterwards those which still live can be named and ended (Linux only; elsewhere it knows of none)."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Final

__all__ = ["ProcessTree", "below", "born"]

_PAUSE: Final = 0.05
_GRACE: Final = 1.0


def born(pid: int) -> str:
    """Return when a process began, in the kernel's clock ticks, so that a later one with its number is not taken for it; empty when it has ended.

    Source: proc(5), ``/proc/PID/stat``: the state is the third field, the start time the 22nd.
    """
    fields = _stat(pid)
    return "" if not fields or fields[0] == "Z" else fields[19]


def below(pid: int) -> list[int]:
    """Return the process ids of a process's children, their children and so on."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        fields = _stat(int(entry.name))
        if fields and fields[0] != "Z":
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = list(children.get(pid, ()))
    for one in found:
        found.extend(children.get(one, ()))
    return found


def _stat(pid: int) -> list[str]:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    # The name in parentheses may hold spaces and parentheses itself.
    return stat.rpartition(")")[2].split()


class ProcessTree:
    """Everything that was ever seen below this process."""

    def __init__(self) -> None:
        self._seen: dict[int, str] = {}

    def look(self, pid: int | None = None) -> list[int]:
        """Remember what lives now below ``pid``, or below this process; returns its process ids."""
        found = {one: born(one) for one in below(pid or os.getpid())}
        self._seen.update({one: birth for one, birth in found.items() if birth})
        return list(found)

    def __len__(self) -> int:
        return len(self._seen)

    def left(self, among: list[int] | None = None, *, within: float = 0.0) -> list[int]:
        """Return which of those seen, or of those ``among`` them, still live after at most ``within`` seconds."""
        asked = self._seen if among is None else {pid: self._seen[pid] for pid in among if pid in self._seen}
        deadline = time.monotonic() + within
        while living := [pid for pid, birth in asked.items() if born(pid) == birth]:
            if time.monotonic() > deadline:
                break
            time.sleep(_PAUSE)
        return living

    def end(self) -> list[int]:
        """End what still lives, at once, and return which processes those were: none, where everybody has stopped what they started."""
        living = self.left(within=_GRACE)
        for pid in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return living
