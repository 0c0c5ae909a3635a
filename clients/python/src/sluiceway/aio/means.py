"""What all objects of one client share."""

from __future__ import annotations

from dataclasses import dataclass

from sluiceway.aio.background import Background
from sluiceway.aio.keepalive import KeepAlive
from sluiceway.http.transport import Transport

__all__ = ["Means"]


@dataclass(frozen=True, kw_only=True)
class Means:
    """The collaborators of sessions."""

    transport: Transport
    background: Background
    keepalive: KeepAlive
