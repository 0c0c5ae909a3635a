"""When and how long to wait before a request is repeated."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

__all__ = ["ELSEWHERE", "RetryPolicy", "backoff", "may_retry", "retry_after"]

ELSEWHERE: Final = frozenset({"draining", "overloaded", "broker-unavailable", "http-502", "http-503", "http-504"})
"""Codes that say something about one gateway only: another one may serve at once."""

_FEW: Final = frozenset({"internal-error", "http-500"})
"""Codes of failures that a repetition may cure, but seldom does when the second one failed too."""

_TRANSIENT: Final = frozenset({408, 429, 502, 503, 504})
_FEW_ATTEMPTS: Final = 3


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How patient a logical call is; all times in seconds.

    Args:
        deadline: After so long no further attempt is begun, and the last failure is raised.
        quota_deadline: The same for a full quota (429 ``quota-exceeded``) and for sessions that no bridge has claimed yet:
            these are back-pressure, not failure.
        first_pause: The longest first pause; it doubles with each failure in a row.
        longest_pause: Where doubling ends.
        connect_timeout: Until an address counts as unreachable.
        read_timeout: Silence after which an answer is given up, beside the time of a long poll.
    """

    deadline: float = 120.0
    quota_deadline: float = 600.0
    first_pause: float = 0.1
    longest_pause: float = 5.0
    connect_timeout: float = 5.0
    read_timeout: float = 30.0

    def patience(self, code: str) -> float:
        """Return how long after the begin of a call a problem of this code may be retried."""
        return max(self.deadline, self.quota_deadline) if code in {"quota-exceeded", "session-pending"} else self.deadline


def backoff(policy: RetryPolicy, failures: int, chance: random.Random) -> float:
    """Return a pause of full jitter: anything between nothing and the doubled first pause, so that clients do not come back together."""
    ceiling = min(policy.longest_pause, policy.first_pause * 2.0 ** min(failures, 20))
    return chance.uniform(ceiling / 10, ceiling)


def may_retry(status: int, code: str, attempts: int) -> bool:
    """Tell whether a refused request may be repeated with the same ``Idempotency-Key``; 4xx other than 408 and 429 never."""
    if code in _FEW:
        return attempts < _FEW_ATTEMPTS
    return status in _TRANSIENT


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds that ``Retry-After`` asks for (RFC 9110, section 10.2.3: seconds or a date), or None."""
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())
