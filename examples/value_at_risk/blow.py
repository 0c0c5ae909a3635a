"""The accident of the demo: kills the gateway in use and the bridge worker that owns the session, and times what clients notice of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sluiceway.stack import StackError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from examples.value_at_risk.processes import ProcessTree
    from sluiceway.blocking.gateway import Gateway
    from sluiceway.blocking.session import Session
    from sluiceway.stack import Program, Stack

__all__ = ["Arrival", "Blow", "Outage", "strike"]

_OWNER_SECONDS: Final = 10.0
_PAUSE: Final = 0.1
_DEATH_SECONDS: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Blow:
    """What was killed, and when.

    Args:
        gateway: The gateway's name.
        address: Its address.
        bridge: The bridge worker's name in the stack.
        pids: The process ids of the two.
        workers: Process ids of the worker processes that the bridge had.
        survivors: Those of them that outlived the bridge.
        moment: When both were dead, seconds of the monotonic clock.
        wall: The same as seconds since the epoch.
    """

    gateway: str
    address: str
    bridge: str
    pids: tuple[int, int]
    workers: tuple[int, ...]
    survivors: tuple[int, ...]
    moment: float
    wall: float


def strike(stack: Stack, *, gateway: Gateway, session: Session, tree: ProcessTree, tell: Callable[[str], None]) -> Blow:
    """Kill with SIGKILL, so that nobody can say goodbye.

    Raises:
        StackError: Nobody owns the session.
    """
    door = _door(stack, gateway.address)
    owner = _owner(stack, session)
    workers = tree.look(owner.pid)
    pids = (door.pid, owner.pid)
    door.kill()
    owner.kill()
    moment, wall = time.monotonic(), time.time()
    tell(f"[bold red]killed {door.name}[/] (process {pids[0]}), which this client was using")
    tell(f"[bold red]killed {owner.name}[/] (process {pids[1]}), which owned the session and ran its tasks")
    survivors = tree.left(workers, within=_DEATH_SECONDS)
    tell(f"of that bridge's {len(workers)} worker processes {len(survivors) or 'none'} outlived it; the other gateway and the other bridge take over")
    address = stack.urls[stack.gateways.index(door)]
    return Blow(
        gateway=door.name,
        address=address,
        bridge=owner.name,
        pids=pids,
        workers=tuple(workers),
        survivors=tuple(survivors),
        moment=moment,
        wall=wall,
    )


def _door(stack: Stack, address: str) -> Program:
    return stack.gateways[stack.urls.index(address)]


def _owner(stack: Stack, session: Session) -> Program:
    """Return the bridge that the session's description names."""
    deadline = time.monotonic() + _OWNER_SECONDS
    while time.monotonic() < deadline:
        name = session.status().owner
        for bridge in stack.bridges:
            if name and bridge.announcement.get("worker") == name:
                return bridge
        time.sleep(_PAUSE)
    raise StackError("no bridge worker says that it owns the session")


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """Outputs that came with one answer.

    Args:
        moment: When, in seconds of the monotonic clock.
        address: Through which gateway.
        finished_at: When the newest of them was finished on the grid, in seconds since the epoch.
    """

    moment: float
    address: str
    finished_at: float


@dataclass(frozen=True, kw_only=True)
class Outage:
    """What the client noticed of the blow, in seconds from it; None where no outputs came after it.

    Args:
        answered: Until outputs came through another gateway.
        resumed: Until the first output came that was computed after the blow; others may have lain in the broker already.
    """

    answered: float | None
    resumed: float | None

    @classmethod
    def of(cls, blow: Blow, arrivals: Iterable[Arrival]) -> Outage:
        """Find the two moments among what came."""
        after = [one for one in arrivals if one.moment > blow.moment]
        answers = (one.moment for one in after if one.address != blow.address)
        fresh = (one.moment for one in after if one.finished_at > blow.wall)
        return cls(answered=_since(blow, answers), resumed=_since(blow, fresh))


def _since(blow: Blow, moments: Iterator[float]) -> float | None:
    first = next(moments, None)
    return None if first is None else first - blow.moment
