"""The order of measurements: parts that are compared take turns, so that a slow minute of the machine meets all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from benchmarks.bench import Bench
from benchmarks.parts.longpoll import measure_longpoll
from benchmarks.parts.million import measure_million
from benchmarks.parts.peers import measure_celery, measure_dask, measure_raw
from benchmarks.parts.sluiceway import measure_sluiceway

__all__ = ["PARTS", "Measure", "measure_all"]

Measure: TypeAlias = Callable[[Bench], Awaitable[dict[str, float]]]

PARTS: Final[Mapping[str, Measure]] = {
    "raw": measure_raw,
    "celery": measure_celery,
    "dask": measure_dask,
    "sluiceway": measure_sluiceway,
    "million": measure_million,
    "longpoll": measure_longpoll,
}

_GROUPS: Final = (("raw", "celery", "dask", "sluiceway"), ("million",), ("longpoll",))
"""Figures of different groups are never compared."""


async def measure_all(bench: Bench, names: Sequence[str], rounds: int, tell: Callable[[str], None]) -> dict[str, list[float]]:
    """Return each figure's values, one per round.

    Args:
        bench: Where.
        names: Which of ``PARTS``.
        rounds: How often.
        tell: Gets a line about each measurement that begins.
    """
    values: dict[str, list[float]] = {}
    for number, name in _schedule(names, rounds):
        tell(f"round {number} of {rounds}: {name}")
        for figure, value in (await PARTS[name](bench)).items():
            values.setdefault(figure, []).append(value)
    return values


def _schedule(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    for group in _GROUPS:
        for number in range(1, rounds + 1):
            yield from ((number, name) for name in group if name in names)
