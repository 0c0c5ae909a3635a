"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import msgspec

__all__ = ["Machine", "describe_machine"]

_LIBRARIES: Final = ("aio-pika", "aiohttp", "celery", "distributed", "msgspec", "starlette", "uvicorn", "uvloop")


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """One machine at the beginning of one run."""

    began: str
    """UTC, ISO 8601."""
    processors: int
    processor: str
    memory_gib: float
    load_before: float
    """What else ran in the minute before (load average): best near 0."""
    system: str
    python: str
    rabbitmq: str
    libraries: dict[str, str]


def describe_machine(rabbitmq: str) -> Machine:
    """Return what this machine is; ``rabbitmq`` is the broker's version."""
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Machine(
        began=datetime.now(UTC).isoformat(timespec="seconds"),
        processors=len(os.sched_getaffinity(0)),
        processor=_processor(),
        memory_gib=round(pages * page_bytes / 2**30, 1),
        load_before=round(os.getloadavg()[0], 2),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        rabbitmq=rabbitmq,
        libraries={name: _version(name) for name in _LIBRARIES},
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
