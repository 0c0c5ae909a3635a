"""Waits for a fact to become true, in place of sleeping and hoping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

__all__ = ["eventually", "eventually_blocking"]

T = TypeVar("T")

_PAUSE = 0.02


@overload
async def eventually(check: Callable[[], Awaitable[T]], *, within: float) -> T: ...


@overload
async def eventually(check: Callable[[], T], *, within: float) -> T: ...


async def eventually(check: Callable[[], Awaitable[T] | T], *, within: float) -> T:
    """Ask ``check`` until it answers something true, and return that answer.

    An ``AssertionError`` counts as "not yet", so that a check may be written with assert; the last one is raised when time is up.

    Args:
        check: A function, plain or async.
        within: Seconds to wait at most.

    Raises:
        AssertionError: The fact did not become true in time.
    """
    deadline = time.monotonic() + within
    while True:
        try:
            answer = check()
            result = await answer if inspect.isawaitable(answer) else answer
        except AssertionError:
            if time.monotonic() >= deadline:
                raise
        else:
            if result:
                return result
            if time.monotonic() >= deadline:
                raise AssertionError(f"not true within {within:g} s; the last answer was {result!r}")
        await asyncio.sleep(_PAUSE)


def eventually_blocking(check: Callable[[], T], *, within: float) -> T:
    """Do what ``eventually`` does, for tests without an event loop."""
    deadline = time.monotonic() + within
    while True:
        try:
            result = check()
        except AssertionError:
            if time.monotonic() >= deadline:
                raise
        else:
            if result:
                return result
            if time.monotonic() >= deadline:
                raise AssertionError(f"not true within {within:g} s; the last answer was {result!r}")
        time.sleep(_PAUSE)
