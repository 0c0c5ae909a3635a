"""Several gateways, one in use: sticky to the last good one, away from bad ones for a growing while."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from sluiceway.http.retries import RetryPolicy, backoff

__all__ = ["Addresses", "Choice", "check_url"]


def check_url(url: str) -> str:
    """Return a gateway's address without a trailing slash.

    Plain ``http`` is taken only for this machine itself: a token must not cross a network in clear.

    Raises:
        ValueError: No such address can be used.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"https", "http"} or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is no gateway address; one looks like https://gateway.example:8443")
    if parts.scheme == "http" and not _is_local(parts.hostname):
        raise ValueError(f"{url!r}: gateways speak https only")
    return url.rstrip("/")


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(slots=True)
class _Standing:
    """How one gateway has behaved lately."""

    url: str
    failures: int = 0
    bad_since: float = 0.0
    bad_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Choice:
    """Which gateway to ask next, and how many seconds to wait before."""

    url: str
    wait: float


class Addresses:
    """The gateways of one client.

    Args:
        urls: Their addresses; at least one.
        policy: The pauses.
        chance: The source of jitter.
        clock: Seconds of a monotonic clock.
        spread: Whether to begin with any of them, so that clients spread over gateways; otherwise with the first.
    """

    def __init__(self, urls: Sequence[str], *, policy: RetryPolicy, chance: random.Random, clock: Callable[[], float], spread: bool = True) -> None:
        if not urls:
            raise ValueError("at least one gateway address is needed")
        self._standings = [_Standing(check_url(url)) for url in dict.fromkeys(urls)]
        self._policy = policy
        self._chance = chance
        self._clock = clock
        self._current = chance.choice(self._standings) if spread else self._standings[0]

    def __len__(self) -> int:
        return len(self._standings)

    @property
    def current(self) -> str:
        """The gateway that the next call asks first."""
        return self._current.url

    def pick(self) -> Choice:
        """Return the gateway in use, or another one while that counts as bad; with a wait when all do."""
        now = self._clock()
        if self._current.bad_until <= now:
            return Choice(self._current.url, 0.0)
        good = [one for one in self._standings if one.bad_until <= now]
        if good:
            # Whoever fails over picks at random: the clients of a dead gateway spread over the others.
            self._current = self._chance.choice(good)
            return Choice(self._current.url, 0.0)
        soonest = min(self._standings, key=lambda one: one.bad_until)
        return Choice(soonest.url, soonest.bad_until - now)

    def failed(self, url: str, *, started: float, pause: float | None = None) -> None:
        """Count an attempt, begun at ``started``, against a gateway; keep away from it for ``pause`` seconds or a growing while."""
        standing = self._find(url)
        # Of many calls that break together only the first counts: the others began before it was known to be bad.
        if started < standing.bad_since:
            return
        now = self._clock()
        standing.failures += 1
        standing.bad_since = now
        standing.bad_until = now + (backoff(self._policy, standing.failures, self._chance) if pause is None else pause)

    def succeeded(self, url: str, *, started: float) -> None:
        """Forget the failures of a gateway that answered, and stay with it when the one in use has failed since it last answered."""
        standing = self._find(url)
        if started < standing.bad_since:
            return
        standing.failures, standing.bad_until = 0, 0.0
        if self._current.failures:
            self._current = standing

    def _find(self, url: str) -> _Standing:
        return next(one for one in self._standings if one.url == url)
