"""What may go wrong on a simulated lane."""

from __future__ import annotations

import msgspec

__all__ = ["Faults"]


class Faults(msgspec.Struct, kw_only=True):
    """How likely things go wrong. Lost newest records are younger than ``delay``, as the protocol presumes."""

    delay: float
    refused: float = 0.0
    unconfirmed: float = 0.0
    twice: float = 0.0
    slow: float = 0.0
    """Publishes and reads that take seconds instead of milliseconds."""
