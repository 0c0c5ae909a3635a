"""What the figures should reach, and whether they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

__all__ = ["TARGETS", "Target", "Verdict", "judge"]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A bound for a figure, or for its ratio to another figure of the same run."""

    figure: str
    over: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def wording(self) -> str:
        """What is asked, in words."""
        bound = f"at least {self.at_least:g}" if self.at_least is not None else f"at most {self.at_most:g}"
        return f"{bound} x {self.over}" if self.over else bound


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A target and what came of it."""

    figure: str
    target: str
    reached: float
    met: bool
    missed_by_percent: float = 0.0


TARGETS: Final = (
    Target(figure="bulk_tasks_per_s", over="celery_tasks_per_s", at_least=40),
    Target(figure="fetch_tasks_per_s", over="submit_tasks_per_s", at_least=1),
    Target(figure="single_tasks_per_s", over="celery_tasks_per_s", at_least=3),
    Target(figure="latency_p50_ms", over="raw_latency_p50_ms", at_most=2.5),
    Target(figure="longpoll_gateway_rss_mb", at_most=250),
    Target(figure="longpoll_submit_p50_ms", over="idle_submit_p50_ms", at_most=5),
    Target(figure="million_gateway_rss_mb", at_most=300),
    Target(figure="million_bridge_rss_mb", at_most=300),
)


def judge(figures: Mapping[str, float], targets: Sequence[Target] = TARGETS) -> list[Verdict]:
    """Return a verdict for each target whose figures were measured."""
    return [_verdict(figures, target) for target in targets if target.figure in figures and (not target.over or target.over in figures)]


def _verdict(figures: Mapping[str, float], target: Target) -> Verdict:
    reached = figures[target.figure] / (figures[target.over] if target.over else 1)
    missed = 1 - reached / target.at_least if target.at_least is not None else reached / (target.at_most or 1) - 1
    return Verdict(figure=target.figure, target=target.wording, reached=round(reached, 3), met=missed <= 0, missed_by_percent=round(max(missed, 0.0) * 100, 1))
