"""The bytes that travel: common data, task inputs and task outputs, as versioned MessagePack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeVar

import msgspec
import numpy as np

from examples.value_at_risk.book import Book
from examples.value_at_risk.job import Job

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Losses", "WireError", "decode_job", "decode_losses", "decode_range", "encode_job", "encode_losses", "encode_range"]

_VERSION: Final = 1
"""The only version so far; a later one reads this one too."""

_FLOAT: Final = np.dtype("<f8")
"""Numbers in bulk travel as IEEE 754 doubles, lowest byte first."""

_Kind = Literal["job", "range", "losses"]
_Body = TypeVar("_Body")
_Count = Annotated[int, msgspec.Meta(ge=1, le=2**31)]
_First = Annotated[int, msgspec.Meta(ge=0, le=2**31)]


class WireError(ValueError):
    """The bytes are not what this job sends."""


class Losses(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The output of one task.

    Args:
        first: The first scenario.
        values: The losses in US dollars, float64, shape (scenarios,).
    """

    first: int
    values: NDArray[np.float64]


class _Envelope(msgspec.Struct, frozen=True, array_like=True):
    version: int
    kind: str
    body: msgspec.Raw


class _JobBody(msgspec.Struct, frozen=True, array_like=True):
    book: Book
    shares: _Count
    closes: bytes
    horizon: _Count
    steps: Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class _RangeBody(msgspec.Struct, frozen=True, array_like=True):
    first: _First
    count: _Count


class _LossesBody(msgspec.Struct, frozen=True, array_like=True):
    first: _First
    values: bytes


def encode_job(job: Job) -> bytes:
    """Return a session's common data."""
    body = _JobBody(book=job.book, shares=job.closes.shape[1], closes=_pack_floats(job.closes), horizon=job.horizon, steps=job.steps)
    return _seal("job", body)


def decode_job(data: bytes) -> Job:
    """Read a session's common data.

    Raises:
        WireError: It is not a job of a version known here, or its prices are not positive numbers.
    """
    body = _open("job", data, _JobBody)
    floats = _unpack_floats(body.closes)
    if len(floats) % body.shares:
        raise WireError(f"{len(floats)} prices do not make full days of {body.shares} shares")
    if not (np.isfinite(floats) & (floats > 0.0)).all():
        raise WireError("every price must be a positive number")
    return Job(book=body.book, closes=floats.reshape(-1, body.shares), horizon=body.horizon, steps=body.steps)


def encode_range(*, first: int, count: int) -> bytes:
    """Return a task's input: the scenarios ``first`` to ``first + count - 1``."""
    return _seal("range", _RangeBody(first=first, count=count))


def decode_range(data: bytes) -> tuple[int, int]:
    """Read a task's input as (first, count).

    Raises:
        WireError: It is not a range of a version known here.
    """
    body = _open("range", data, _RangeBody)
    return body.first, body.count


def encode_losses(*, first: int, values: NDArray[np.float64]) -> bytes:
    """Return a task's output; it names its own scenarios, so outputs may come in any order."""
    return _seal("losses", _LossesBody(first=first, values=_pack_floats(values)))


def decode_losses(data: bytes) -> Losses:
    """Read a task's output.

    Raises:
        WireError: It is not an output of a version known here.
    """
    body = _open("losses", data, _LossesBody)
    return Losses(first=body.first, values=_unpack_floats(body.values))


def _seal(kind: _Kind, body: msgspec.Struct) -> bytes:
    return msgspec.msgpack.encode((_VERSION, kind, body))


def _open(kind: _Kind, data: bytes, form: type[_Body]) -> _Body:
    # The envelope is read on its own first, so that another version is reported as such and not as some field out of place.
    try:
        envelope = msgspec.msgpack.decode(data, type=_Envelope)
        if envelope.kind != kind:
            raise WireError(f"expected a message of kind {kind!r}, not {envelope.kind[:32]!r}")
        if envelope.version != _VERSION:
            raise WireError(f"{kind} of version {envelope.version}: this program reads version {_VERSION}")
        return msgspec.msgpack.decode(envelope.body, type=form)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise WireError(f"not a {kind} in MessagePack: {exc}") from exc


def _pack_floats(values: NDArray[np.float64]) -> bytes:
    return values.astype(_FLOAT, copy=False).tobytes()


def _unpack_floats(data: bytes) -> NDArray[np.float64]:
    if len(data) % _FLOAT.itemsize:
        raise WireError(f"{len(data)} bytes do not make full doubles of {_FLOAT.itemsize}")
    return np.frombuffer(data, dtype=_FLOAT).astype(np.float64)
