"""A bounded local memory of what was answered to an ``Idempotency-Key``: it saves work and finds reused keys; safety never rests on it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

import msgspec

from gateway.problems import ProblemError

__all__ = ["KeyMemory", "OnceMemory"]

_REUSED: Final = "the key was used before with another body; use a fresh key for another request"

T = TypeVar("T")


class KeyMemory:
    """Which fingerprint a key came with.

    Args:
        size: How many keys are remembered.
    """

    def __init__(self, *, size: int = 100_000) -> None:
        self._size = size
        self._known: OrderedDict[bytes, bytes] = OrderedDict()

    def check(self, key: bytes, fingerprint: bytes) -> None:
        """Remember a key.

        Raises:
            ProblemError: ``idempotency-key-reused``.
        """
        known = self._known.setdefault(key, fingerprint)
        if known != fingerprint:
            raise ProblemError("idempotency-key-reused", _REUSED)
        self._known.move_to_end(key)
        if len(self._known) > self._size:
            self._known.popitem(last=False)


class _Kept(msgspec.Struct, Generic[T], frozen=True):
    fingerprint: bytes
    work: asyncio.Future[T]


class OnceMemory(Generic[T]):
    """Does a piece of work once per key; whoever repeats the request waits for the same outcome.

    The work does not end with the request that began it: a client that repeats at once after a broken connection finds it under way.

    Args:
        spawn: Starts a coroutine in the process' task group.
        size: How many outcomes are remembered.
    """

    def __init__(self, *, spawn: Callable[[Coroutine[Any, Any, None]], object], size: int = 10_000) -> None:
        self._spawn = spawn
        self._size = size
        self._known: OrderedDict[bytes, _Kept[T]] = OrderedDict()

    async def once(self, key: bytes, fingerprint: bytes, work: Callable[[], Awaitable[T]]) -> T:
        """Return the outcome of ``work``; failures are not remembered.

        Raises:
            ProblemError: ``idempotency-key-reused``, or what the work raised.
        """
        kept = self._known.get(key)
        if kept is not None and kept.fingerprint != fingerprint:
            raise ProblemError("idempotency-key-reused", _REUSED)
        if kept is None:
            kept = _Kept(fingerprint, asyncio.get_running_loop().create_future())
            self._known[key] = kept
            self._spawn(self._run(key, kept, work))
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        return await asyncio.shield(kept.work)

    async def _run(self, key: bytes, kept: _Kept[T], work: Callable[[], Awaitable[T]]) -> None:
        try:
            outcome = await work()
        except BaseException as exc:
            if self._known.get(key) is kept:
                del self._known[key]
            if isinstance(exc, Exception):
                kept.work.set_exception(exc)
                # Asked for once, so that asyncio does not complain when no request is left that waits for it.
                kept.work.exception()
                return
            kept.work.cancel()
            raise
        kept.work.set_result(outcome)
