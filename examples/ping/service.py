"""The grid side of ``sluiceway ping``: echo, or wait and answer with so many bytes (after Symphony's symping)."""

from __future__ import annotations

import time
from typing import Final

import msgspec
from typing_extensions import override

from bridge.services import FatalException, Service, TaskContext

__all__ = ["MARK", "Ping", "PingInput"]

MARK: Final = b"ping\x00"
"""What an input begins with that asks for something else than an echo; the rest is MessagePack."""

_OUTPUT_MAX: Final = 64 * 1024 * 1024


class PingInput(msgspec.Struct, frozen=True, kw_only=True):
    """What a task asks for."""

    sleep_ms: float = 0.0
    output_bytes: int | None = None
    """None: as many as came in."""
    fail: str = ""
    """When set, the task fails with this message."""
    padding: bytes = b""
    """Makes the input as large as wanted."""


class Ping(Service):
    """Echoes its input, unless the input asks for something else."""

    @override
    def create(self) -> None:
        """Prepare to read inputs."""
        self._decoder = msgspec.msgpack.Decoder(PingInput)

    @override
    def invoke(self, task: TaskContext) -> bytes:
        """Run one task."""
        if not task.payload.startswith(MARK):
            return task.payload
        try:
            wanted = self._decoder.decode(task.payload[len(MARK) :])
        except msgspec.MsgspecError as exc:
            raise FatalException(f"the input cannot be read: {exc}", 1) from exc
        if wanted.sleep_ms > 0:
            time.sleep(wanted.sleep_ms / 1000)
        if wanted.fail:
            raise FatalException(wanted.fail, 2)
        size = len(task.payload) if wanted.output_bytes is None else wanted.output_bytes
        if not 0 <= size <= _OUTPUT_MAX:
            raise FatalException(f"output_bytes must be 0 to {_OUTPUT_MAX}", 3)
        return bytes(size)
