"""The audit trail: one JSON line per request, who did what to what from where, and how it ended."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from gateway.problems import ProblemError
from runtime.logs import get_logger

__all__ = ["AuditLine", "AuditTrail", "append"]

_MODE: Final = 0o640
_KEPT_LINES: Final = 100_000
_GATHER_SECONDS: Final = 0.02
_RETRY_SECONDS: Final = 1.0
_REFUSED: Final = 400
_FAILED: Final = 500
_encoder = msgspec.json.Encoder()


class AuditLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One action. ``action`` is the operation's id, ``object`` the path that names what it was done to."""

    time: str
    gateway: str
    source: str
    login: str
    action: str
    object: str
    outcome: str
    """``success``, ``refused`` or ``failed``."""
    status: int
    request_id: str = msgspec.field(name="requestId")
    code: str = ""
    created: str = ""


class AuditTrail:
    """Appends to the audit file, in a thread, since a disk may make its writer wait.

    Lines of some 20 ms go out as one ``write`` to a file opened for appending: several gateways of one host may share it. The file is opened
    for each write, so that it may be moved away at any time.

    Args:
        path: The file; made when missing.
        gateway: This process' name.
        required: Whether requests are refused while lines cannot be written.
    """

    def __init__(self, *, path: Path, gateway: str, required: bool) -> None:
        self._path = path
        self._gateway = gateway
        self._required = required
        self._lines: deque[bytes] = deque(maxlen=_KEPT_LINES)
        self._more = asyncio.Event()
        self._log = get_logger(__name__)
        self.failing = False

    def check(self) -> None:
        """Refuse a request that could not be written down.

        Raises:
            ProblemError: Lines cannot be written at the moment.
        """
        if self.failing and self._required:
            raise ProblemError("overloaded", "the audit trail cannot be written at the moment")

    def record(self, line: AuditLine) -> None:
        """Add one line."""
        self._lines.append(_encoder.encode(line) + b"\n")
        self._more.set()

    def line(  # noqa: PLR0913 - the fields of the line
        self, *, source: str, login: str, action: str, target: str, status: int, request_id: str, code: str = "", created: str = ""
    ) -> AuditLine:
        """Return the line of one request."""
        return AuditLine(
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            gateway=self._gateway,
            source=source,
            login=login,
            action=action,
            object=target[:1024],
            outcome="success" if status < _REFUSED else "refused" if status < _FAILED else "failed",
            status=status,
            request_id=request_id,
            code=code,
            created=created,
        )

    async def run(self) -> None:
        """Write lines as they come until cancelled; then write the rest."""
        try:
            while True:
                await self._more.wait()
                await asyncio.sleep(_RETRY_SECONDS if self.failing else _GATHER_SECONDS)
                await self.flush()
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Write what has gathered; what cannot be written is kept, up to 100,000 lines."""
        self._more.clear()
        lines = b"".join(self._lines)
        count = len(self._lines)
        if not count:
            return
        try:
            await asyncio.to_thread(append, self._path, lines)
        except OSError as exc:
            if not self.failing:
                self._log.error("audit lines cannot be written", problem=exc.strerror)
            self.failing = True
            self._more.set()
            return
        for _ in range(min(count, len(self._lines))):
            self._lines.popleft()
        self.failing = False


def append(path: Path, lines: bytes) -> None:
    """Append lines to the file; made with mode 0640 when missing.

    Raises:
        OSError: It cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
    try:
        if os.write(descriptor, lines) < len(lines):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)
