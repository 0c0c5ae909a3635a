"""Structured logs on standard output: one JSON object a line, with request, session and task ids, never payloads or secrets."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final, TextIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger
from typing_extensions import override

__all__ = ["Logger", "bind", "bound", "configure", "get_logger"]

Logger = structlog.typing.FilteringBoundLogger

_FORBIDDEN: Final = frozenset({"authorization", "common_data", "cookie", "credentials", "input", "output", "passwd", "password", "payload", "secret", "token"})
_FIRST: Final = ("timestamp", "level", "event")
_FOREIGN: Final = {"aio_pika": logging.WARNING, "aiormq": logging.WARNING, "asyncio": logging.WARNING, "uvicorn": logging.WARNING}
"""Libraries say little at their own 'info' that an operator needs; an explicit 'debug' level opens them."""


class _Lines(io.TextIOBase):
    """A stream that outlives its reader: work must not fail because nobody reads the log any more."""

    def __init__(self, target: TextIO) -> None:
        self._target = target

    @override
    def write(self, text: str, /) -> int:
        """Pass ``text`` on, or drop it when the other end is gone or the disk is full."""
        with suppress(OSError):
            self._target.write(text)
        return len(text)

    @override
    def flush(self) -> None:
        """Pass on what the target still holds."""
        with suppress(OSError):
            self._target.flush()


def get_logger(name: str) -> Logger:
    """Return the logger of a module; what it says goes wherever ``configure`` points at that time."""
    logger: Logger = structlog.get_logger(source=name)
    return logger


def bind(*, request_id: str) -> None:
    """Put a request's id on every line that this task and its children log from now on, for tasks that end with their request."""
    structlog.contextvars.bind_contextvars(request_id=request_id)


@contextmanager
def bound(*, request_id: str | None = None, session: str | None = None, task: str | None = None) -> Iterator[None]:
    """Put ids on every line that this task and its children log inside the block; ``None`` leaves what is bound."""
    given = {"request_id": request_id, "session": session, "task": task}
    with structlog.contextvars.bound_contextvars(**{name: value for name, value in given.items() if value is not None}):
        yield


def configure(level: str = "info", format: str = "json", *, stream: TextIO | None = None, **fields: str) -> None:  # noqa: A002 - the setting's own name
    """Route this process' logs, and those of its libraries, to ``stream``.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        format: ``json``, or ``console`` for people.
        stream: Where lines go; standard output without it.
        fields: Put on every line, such as the role and the name of this process.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _static(fields),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(),
        redact,
    ]
    dress: Processor = structlog.dev.ConsoleRenderer() if format == "console" else structlog.processors.JSONRenderer(serializer=_to_json)
    target = cast("TextIO", _Lines(stream or sys.stdout))
    structlog.configure(
        processors=[*shared, dress],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=target),
        # A logger made at import time must follow when a process or a test points the logs elsewhere.
        cache_logger_on_first_use=False,
    )
    _route_libraries(threshold, target, [*shared, structlog.stdlib.ProcessorFormatter.remove_processors_meta, dress])


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Drop every key that could carry a payload or a secret, at any depth, and replace bytes by their count.

    This is the second lock, not the first: code is expected not to hand such things to a logger.
    """
    return {key: _clean(value) for key, value in event.items() if not _forbidden(key)}


def _clean(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _clean(item) for key, item in value.items() if not _forbidden(key)}
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return value


def _forbidden(key: object) -> bool:
    return str(key).lower().replace("-", "_") in _FORBIDDEN


def _static(fields: Mapping[str, str]) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        for name, value in fields.items():
            event.setdefault(name, value)
        return event

    return add


def _name_library(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event["source"] = event["_record"].name
    return event


def _to_json(event: EventDict, **_options: Any) -> str:  # noqa: ANN401 - structlog hands over options of its default serializer
    first = {name: event.pop(name) for name in _FIRST if name in event}
    return msgspec.json.encode({**first, **event}, enc_hook=str).decode()


def _route_libraries(threshold: int, target: TextIO, processors: list[Processor]) -> None:
    handler = logging.StreamHandler(target)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[_name_library, *processors]))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(threshold)
    for name, quiet in _FOREIGN.items():
        library = logging.getLogger(name)
        library.handlers = []
        library.propagate = True
        library.setLevel(logging.DEBUG if threshold == logging.DEBUG else max(quiet, threshold))
