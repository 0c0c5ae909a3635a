"""How an owner reads its own journal: to the end before it marks, until its mark is back, and then along with what it writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from bridge.epoch import DoubtError
from bridge.events import Event, Proven, Read, ViewLost
from bridge.lanewatch import LaneWatch
from broker.errors import BrokerError
from broker.journal.view import JournalView, Step

__all__ = ["prove_journal", "read_mark", "read_to_end", "watch_journal"]

_READ_SECONDS: Final = 5.0
_ALL: Final = 1 << 62


async def read_to_end(view: JournalView, watch: LaneWatch) -> None:
    """Fold everything up to the journal's end as it was when the view began.

    Raises:
        DoubtError: The end that was there does not come.
        BrokerError: The journal cannot be read at the moment.
    """
    end = view.lenient_until
    view.lenient_until = _ALL
    while end >= 0 and (view.last is None or view.last.offset < end):
        before = view.last
        steps = await view.read(_READ_SECONDS)
        if view.last == before:
            raise DoubtError("the journal's end cannot be reached")
        for step in steps:
            watch.saw(step.record)
    if view.fold.floating and view.fold.num:
        raise DoubtError("no whole snapshot of the session is kept: nobody can tell what has an output")


async def read_mark(view: JournalView, watch: LaneWatch, nonce: bytes, *, within: float) -> tuple[Step, list[Step]]:
    """Read until the first record of this nonce is back; return it, and what came behind it. From there on nothing is overlooked leniently.

    Raises:
        DoubtError: It did not come back in time: never publish the same mark again.
        NotProvenError: What was read before the mark is not what stands before it.
        BrokerError: The journal cannot be read at the moment.
    """
    end = asyncio.get_running_loop().time() + within
    while (left := end - asyncio.get_running_loop().time()) > 0:
        steps = await view.read(left)
        for index, step in enumerate(steps):
            if step.record.headers.nonce == nonce:
                view.lenient_until = -1
                if step.before is not None:
                    # The journal may have been cut below this reader and the mark written into the gap: then all that was read is stale.
                    await view.check(step.before)
                return step, steps[index + 1 :]
            watch.saw(step.record)
    raise DoubtError(f"the mark was not read back within {within:g} s")


async def watch_journal(view: JournalView, tell: Callable[[Event], None]) -> None:
    """Read along for as long as the epoch lasts."""
    try:
        while True:
            steps = await view.read(None)
            if steps:
                tell(Read(steps))
    except BrokerError as exc:
        tell(ViewLost(exc))


async def prove_journal(view: JournalView, tell: Callable[[Event], None]) -> None:
    """Make a fresh reading of what was read since the last one: only that makes what was visible safe to be given up by time."""
    begun = asyncio.get_running_loop().time()
    try:
        await view.prove()
    except BrokerError as exc:
        tell(ViewLost(exc))
    else:
        tell(Proven(begun))
