"""Dask distributed: a scheduler and worker processes on this machine, map and gather."""

from __future__ import annotations

import secrets
import time

from distributed import Client, LocalCluster

from benchmarks.peers.records import DaskResult, DaskSpec
from benchmarks.programs import Gate, perform

_WARM_UP = 50


def _echo(payload: bytes) -> bytes:
    return payload


def _work(spec: DaskSpec, gate: Gate) -> DaskResult:
    with LocalCluster(n_workers=spec.processes, threads_per_worker=1, processes=True, dashboard_address=None) as cluster, Client(cluster) as client:
        client.gather(client.map(_echo, _payloads(_WARM_UP, spec.payload_bytes), pure=False))
        payloads = _payloads(spec.tasks, spec.payload_bytes)
        gate.pass_through()
        began = time.perf_counter()
        results = client.gather(client.map(_echo, payloads, pure=False))
        seconds = time.perf_counter() - began
    assert results == payloads
    return DaskResult(tasks_per_s=spec.tasks / seconds)


def _payloads(count: int, size: int) -> list[bytes]:
    return [secrets.token_bytes(size) for _ in range(count)]


if __name__ == "__main__":
    perform(DaskSpec, _work)
