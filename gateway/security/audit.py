"""The audit trail: one JSON line per request, who did what to what from where, and how it ended."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from gateway.problems import ProblemError
from runtime.logs import get_logger

__all__ = ["AuditLine", "AuditTrail"]

_MODE: Final = 0o640
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
    """Appends to the audit file. Context manager.

    Each line is one ``write`` to a file opened for appending: several gateways of one host may share it.

    Args:
        path: The file; made when missing, opened anew when it was moved away.
        gateway: This process' name.
        required: Whether requests are refused while lines cannot be written.
    """

    def __init__(self, *, path: Path, gateway: str, required: bool) -> None:
        self._path = path
        self._gateway = gateway
        self._required = required
        self._descriptor = -1
        self._log = get_logger(__name__)
        self.failing = False

    def __enter__(self) -> Self:
        """Open the file.

        Raises:
            OSError: It cannot be opened: a gateway that cannot say who did what does not start.
        """
        self._open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the file."""
        os.close(self._descriptor)
        self._descriptor = -1

    def check(self) -> None:
        """Refuse a request that could not be written down.

        Raises:
            ProblemError: The last line could not be written, and still none can.
        """
        if self.failing and self._required and not self._write(b""):
            raise ProblemError("overloaded", "the audit trail cannot be written at the moment")

    def record(self, *, source: str, login: str, action: str, target: str, status: int, request_id: str, code: str, created: str) -> None:  # noqa: PLR0913 - the fields of the line
        """Append one line."""
        outcome = "success" if status < 400 else "refused" if status < 500 else "failed"  # noqa: PLR2004 - HTTP's classes of status
        line = AuditLine(
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            gateway=self._gateway,
            source=source,
            login=login,
            action=action,
            object=target[:1024],
            outcome=outcome,
            status=status,
            request_id=request_id,
            code=code,
            created=created,
        )
        self._write(_encoder.encode(line) + b"\n")

    def reopen(self) -> None:
        """Open the file of that name anew, after it was moved away."""
        os.close(self._descriptor)
        self._open()

    def _open(self) -> None:
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)

    def _write(self, line: bytes) -> bool:
        try:
            os.write(self._descriptor, line or b"\n")
        except OSError as exc:
            if not self.failing:
                self._log.error("audit line cannot be written", problem=exc.strerror)
            self.failing = True
            return False
        self.failing = False
        return True
