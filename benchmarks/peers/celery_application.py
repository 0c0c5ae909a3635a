"""The Celery application that is compared: one task that returns its input, MessagePack, results by RPC."""

from __future__ import annotations

from typing import Any

import celery

from benchmarks.peers.records import CelerySpec

__all__ = ["ECHO", "make_application"]

ECHO = "benchmarks.echo"
_PREFETCH = 100


def make_application(spec: CelerySpec) -> Any:  # noqa: ANN401 - Celery has no types
    """Return the application with its task.

    Celery's default queue stays what it is, a durable classic queue: it is faster than a quorum queue, to Celery's advantage.
    """
    application = celery.Celery("benchmarks", broker=spec.url, backend="rpc://")
    application.conf.update(
        task_serializer="msgpack",
        result_serializer="msgpack",
        accept_content=["msgpack"],
        task_default_queue=spec.queue,
        worker_prefetch_multiplier=_PREFETCH // spec.concurrency,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
    )
    application.task(name=ECHO)(_echo)
    return application


def _echo(payload: bytes) -> bytes:
    return payload
