"""A Celery worker of one pool."""

from __future__ import annotations

import msgspec

from benchmarks.peers.celery_application import make_application
from benchmarks.peers.records import CelerySpec
from benchmarks.programs import Gate, perform

__all__ = ["WorkerEnd"]


class WorkerEnd(msgspec.Struct, frozen=True, kw_only=True):
    """A worker has no result."""


def _work(spec: CelerySpec, gate: Gate) -> WorkerEnd:
    gate.pass_through()
    # What only matters to several workers is off, to Celery's advantage.
    options = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=error"]
    make_application(spec).worker_main(["worker", f"--pool={spec.pool}", f"--concurrency={spec.concurrency}", *options])
    return WorkerEnd()


if __name__ == "__main__":
    perform(CelerySpec, _work)
