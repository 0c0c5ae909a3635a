"""Which workers are alive and which sessions they own, as their heartbeats tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from schemas.control import Beat

__all__ = ["Presence"]

_FRESH_SECONDS: Final = 5.0
"""Workers beat every 2 s: one lost beat is forgiven."""


class _Heard(msgspec.Struct, frozen=True):
    beat: Beat
    at: float


class Presence:
    """The heartbeats heard last.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard: dict[tuple[str, str], _Heard] = {}
        self._owners: dict[bytes, tuple[str, str]] = {}

    def note(self, beat: Beat) -> None:
        """Take a heartbeat in."""
        key = (beat.cluster, beat.worker)
        former = self._heard.get(key)
        for sid in former.beat.sessions if former else ():
            if self._owners.get(sid) == key:
                del self._owners[sid]
        self._heard[key] = _Heard(beat, self._clock())
        for sid in beat.sessions:
            self._owners[sid] = key
        self._forget_silent()

    def workers(self, cluster: str) -> Sequence[Beat]:
        """Return the last beats of the cluster's workers that are alive."""
        now = self._clock()
        return [heard.beat for (name, _), heard in self._heard.items() if name == cluster and now - heard.at <= _FRESH_SECONDS]

    def owner(self, sid: bytes) -> str:
        """Return the worker that owns a session; empty when no living one says so."""
        key = self._owners.get(sid)
        if key is None or self._clock() - self._heard[key].at > _FRESH_SECONDS:
            return ""
        return key[1]

    def room(self, cluster: str) -> int:
        """Return how many more sessions the cluster's workers would own."""
        return sum(beat.capacity - len(beat.sessions) for beat in self.workers(cluster) if not beat.draining)

    def _forget_silent(self) -> None:
        now = self._clock()
        for key in [key for key, heard in self._heard.items() if now - heard.at > 12 * _FRESH_SECONDS]:
            for sid in self._heard.pop(key).beat.sessions:
                if self._owners.get(sid) == key:
                    del self._owners[sid]
