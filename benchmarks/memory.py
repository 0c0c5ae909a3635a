"""The memory of other processes, as Linux tells it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["peak_mib"]


def peak_mib(pid: int) -> float:
    """Return the highest resident set of a process since it began, in MiB (``VmHWM`` in proc(5))."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"process {pid} has ended")
