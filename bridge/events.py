"""Everything that can happen to a session, as values: its owner handles one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from bridge.connectors.base import Outcome
from broker.claims import InputDelivery
from broker.journal.view import Step
from schemas.control import Acknowledge, Request

__all__ = [
    "Asked",
    "ChannelClosed",
    "Delivered",
    "Doubted",
    "DrainAsked",
    "Event",
    "Finished",
    "GridLost",
    "GridOpened",
    "GridRefused",
    "Heard",
    "Progressed",
    "Proven",
    "PublishFailed",
    "Read",
    "ViewLost",
]


class Delivered(msgspec.Struct, frozen=True):
    """The lane delivered a message."""

    delivery: InputDelivery


class Finished(msgspec.Struct, frozen=True):
    """The grid has outcomes."""

    outcomes: Sequence[Outcome]


class Read(msgspec.Struct, frozen=True):
    """The journal was read on."""

    steps: Sequence[Step]


class Proven(msgspec.Struct, frozen=True):
    """A fresh reading that began at this time of the event loop found everything that was visible before."""

    begun: float


class ViewLost(msgspec.Struct, frozen=True):
    """The journal's reader was lost, or does not find what it remembers."""

    error: Exception


class PublishFailed(msgspec.Struct, frozen=True):
    """A publication of this epoch was refused or not confirmed."""

    error: BaseException
    num: int


class Progressed(msgspec.Struct, frozen=True):
    """A publication was confirmed, or the grid took tasks: more may go out."""


class GridOpened(msgspec.Struct, frozen=True):
    """The grid session is open."""

    native_id: str


class GridRefused(msgspec.Struct, frozen=True):
    """The grid will not have the session."""

    code: str
    message: str


class GridLost(msgspec.Struct, frozen=True):
    """The grid is away."""

    error: Exception


class Heard(msgspec.Struct, frozen=True):
    """A gateway repeats what the client has acknowledged."""

    acknowledge: Acknowledge


class Doubted(msgspec.Struct, frozen=True):
    """A reader is stuck at a gap."""


class Asked(msgspec.Struct, frozen=True):
    """A gateway asks for something and waits for the reply."""

    request: Request


class ChannelClosed(msgspec.Struct, frozen=True):
    """The session's channel is gone: claim and inputs went back to the broker."""


class DrainAsked(msgspec.Struct, frozen=True):
    """The worker is shutting down: hand the session over."""


Event: TypeAlias = (
    Delivered
    | Finished
    | Read
    | Proven
    | ViewLost
    | PublishFailed
    | Progressed
    | GridOpened
    | GridRefused
    | GridLost
    | Heard
    | Doubted
    | Asked
    | ChannelClosed
    | DrainAsked
)
