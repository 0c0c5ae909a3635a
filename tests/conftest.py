"""What every test gets: rooms that may not block the event loop, and logs as they were before."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import hypothesis
import pytest
import structlog
from blockbuster import BlockBuster

# Two cores shared with brokers and other processes: how long an example takes says nothing.
hypothesis.settings.register_profile("sluiceway", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("sluiceway")

pytest_plugins = ["tests.support.rabbit"]

_ROOMS = ["schemas", "runtime", "broker", "gateway", "bridge"]


@pytest.fixture(autouse=True)
def loop_guard() -> Iterator[BlockBuster]:
    """Fail a test in which one of our rooms makes a blocking call inside the event loop.

    Programs read their files before they start the loop. A room with a reason to do otherwise goes through ``asyncio.to_thread``.
    """
    guard = BlockBuster(scanned_modules=_ROOMS)
    # Writing a log line to a pipe or a file is the one thing that may wait: losing lines would be worse.
    for function in guard.functions.values():
        function.can_block_in("runtime/logs.py", {"write", "flush"})
        # The same for the source lines that a logged traceback shows.
        function.can_block_in("linecache.py", {"checkcache", "updatecache"})
    guard.activate()
    yield guard
    guard.deactivate()


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Undo what a test does to the logging of the process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers = handlers
    root.setLevel(level)
