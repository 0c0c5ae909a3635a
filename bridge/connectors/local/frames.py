"""What the bridge and a worker process say to each other: length-prefixed MessagePack frames, and one shared page of progress.

A worker process runs its tasks strictly in the order in which it gets them and answers in that order, so answers carry no ids: a frame
of outputs belongs to the next tasks in turn. What a frame cannot say in time (which task runs at this moment, when the process hangs or
is gone) stands on the shared page, written for each task at the price of two stores to memory.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Final

import msgspec

__all__ = [
    "PAGE_BYTES",
    "PHASE",
    "PROGRESS",
    "SINCE",
    "SKIP",
    "Context",
    "Failure",
    "Forget",
    "FrameDecoder",
    "FrameReader",
    "FromWorker",
    "Ready",
    "Results",
    "Start",
    "Stop",
    "ToWorker",
    "Work",
    "encode",
]

PROGRESS: Final = 0
"""Word of the page: 2 n + 1 while the n-th task of this process runs (from 0), 2 n when n tasks are done. Written by the worker."""
SINCE: Final = 1
"""Word of the page: nanoseconds of the monotonic clock at which the running task, or the phase, began. Written by the worker."""
SKIP: Final = 2
"""Word of the page: tasks with a number below this, unless already begun, are taken back and not run. Written by the bridge."""
PHASE: Final = 3
"""Word of the page: 1 while the service enters, updates or leaves a session, else 0. Written by the worker."""
PAGE_BYTES: Final = 4096

_PREFIX: Final = struct.Struct("<I")
_ENCODER: Final = msgspec.msgpack.Encoder()


class Start(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """The first frame to a worker process: what it is."""

    service: str
    output_bytes: int
    python_path: tuple[str, ...]


class Context(msgspec.Struct, frozen=True, array_like=True):
    """A session as its service sees it."""

    session_id: str
    tag: str
    common_data: bytes | None


class Work(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A bundle of tasks of one session, by columns, since that is quicker to pack than records."""

    session: bytes
    """The bridge's key for the session: unlike its id, never the same for two sessions."""
    version: int
    """Counts the updates of the session's common data."""
    context: Context | None
    """None when this process has this version of the session already."""
    ids: list[bytes]
    tags: list[str]
    payloads: list[bytes]


class Forget(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A session has ended or is not expected back: leave it and drop its common data."""

    session: bytes


class Stop(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Leave, destroy and exit."""


class Ready(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """The service was created, or why not."""

    problem: str | None = None


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """A run that gave no output."""

    code: str
    error_type: str
    error_code: int
    message: str
    retry: bool


class Results(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Answers for the next tasks in turn, all of one ``Work`` frame."""

    outputs: list[bytes | Failure | None]
    """None for a task that was taken back before it began."""
    plain: bool
    """True when all are outputs."""
    seconds: float
    """Time that these tasks took together."""
    entering: Failure | None = None
    """Why the session could not be entered or updated; then all outputs are None."""
    enter_seconds: float = 0.0
    """Time that entering or updating took before these tasks."""


ToWorker = Start | Work | Forget | Stop
FromWorker = Ready | Results


def encode(frame: ToWorker | FromWorker) -> bytearray:
    """Pack a frame with its length, 4 bytes little-endian, in front."""
    buffer = bytearray(_PREFIX.size)
    _ENCODER.encode_into(frame, buffer, _PREFIX.size)
    _PREFIX.pack_into(buffer, 0, len(buffer) - _PREFIX.size)
    return buffer


class FrameDecoder:
    """Cuts what arrives from a worker process into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._decoder = msgspec.msgpack.Decoder(Ready | Results)

    def feed(self, data: bytes) -> Iterator[Ready | Results]:
        """Yield the frames that ``data`` completes.

        Raises:
            msgspec.DecodeError: What arrived is no frame; the process cannot be used any more.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= _PREFIX.size:
            (size,) = _PREFIX.unpack_from(buffer, start)
            end = start + _PREFIX.size + size
            if len(buffer) < end:
                break
            with memoryview(buffer) as view:
                frame = self._decoder.decode(view[start + _PREFIX.size : end])
            start = end
            yield frame
        del buffer[:start]


class FrameReader:
    """Reads frames from the bridge, one after another, blocking. The worker's side of the socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._decoder = msgspec.msgpack.Decoder(Start | Work | Forget | Stop)

    def read(self) -> ToWorker | None:
        """Return the next frame, or None when the bridge is gone."""
        prefix = self._exactly(_PREFIX.size)
        if prefix is None:
            return None
        body = self._exactly(_PREFIX.unpack(prefix)[0])
        return None if body is None else self._decoder.decode(body)

    def _exactly(self, size: int) -> bytearray | None:
        buffer = bytearray(size)
        with memoryview(buffer) as view:
            got = 0
            while got < size:
                more = self._connection.recv_into(view[got:])
                if not more:
                    return None
                got += more
        return buffer
