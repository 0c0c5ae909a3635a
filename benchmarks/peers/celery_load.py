"""A Celery client: sends all tasks, then collects all results."""

from __future__ import annotations

import secrets
import time
from typing import Any

from celery.result import ResultSet

from benchmarks.peers.celery_application import ECHO, make_application
from benchmarks.peers.records import CeleryResult, CelerySpec
from benchmarks.percentiles import percentile
from benchmarks.programs import Gate, perform

_WARM_UP = 20
_ONE_BY_ONE = 200
_PATIENCE = 120


def _work(spec: CelerySpec, gate: Gate) -> CeleryResult:
    echo = make_application(spec).tasks[ECHO]
    payload = secrets.token_bytes(spec.payload_bytes)
    for _ in range(_WARM_UP):
        echo.delay(payload).get(timeout=_PATIENCE)
    gate.pass_through()
    times = sorted(_one(echo, payload) for _ in range(_ONE_BY_ONE))
    began = time.perf_counter()
    results = ResultSet([echo.delay(payload) for _ in range(spec.tasks)]).join_native(timeout=_PATIENCE)
    seconds = time.perf_counter() - began
    assert results == [payload] * spec.tasks
    return CeleryResult(tasks_per_s=spec.tasks / seconds, p50_ms=percentile(times, 50) * 1000)


def _one(echo: Any, payload: bytes) -> float:  # noqa: ANN401 - Celery has no types
    began = time.perf_counter()
    assert echo.delay(payload).get(timeout=_PATIENCE) == payload
    return time.perf_counter() - began


if __name__ == "__main__":
    perform(CelerySpec, _work)
