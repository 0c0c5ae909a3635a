"""The benchmark runs, with sizes that say nothing about speed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.bench import open_bench
from benchmarks.rounds import measure_all
from benchmarks.sizes import Sizes
from broker.node import NodeMissingError
from broker.nodefiles import find_tool
from tests.benchmarks.figures import PEERS, SLUICEWAY

TINY = Sizes(
    raw_round_trips=5,
    celery_tasks=20,
    dask_tasks=20,
    latency_tasks=5,
    bulk_tasks=350,
    bulk_in_flight=2,
    fetch_tasks=300,
    single_tasks=40,
    single_in_flight=4,
    longpoll_sessions=3,
    longpoll_submits=5,
    million_tasks=2500,
)


def _has_node() -> bool:
    try:
        return find_tool("rabbitmq-server").exists()
    except NodeMissingError:
        return False


pytestmark = [
    pytest.mark.broker,
    pytest.mark.processes,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not _has_node(), reason="rabbitmq-server is not installed: the benchmark measures on a private node only"),
]


async def test_sluiceway_and_the_floor_are_measured(tmp_path: Path) -> None:
    """One round of everything that needs no peer yields every figure, each of them positive or a count."""
    async with open_bench(tmp_path, TINY) as bench:
        values = await measure_all(bench, ["raw", "sluiceway", "million", "longpoll"], 1, print)

    assert set(values) == SLUICEWAY
    assert all(len(several) == 1 for several in values.values())
    assert [name for name, (value,) in values.items() if value <= 0] in ([], ["million_refused_requests"])


@pytest.mark.skipif(not (find_spec("celery") and find_spec("distributed")), reason="Celery or Dask is not installed: uv's group 'bench' has both")
async def test_peers_are_measured(tmp_path: Path) -> None:
    """Both pools of Celery and Dask give back what they were sent."""
    async with open_bench(tmp_path, TINY) as bench:
        values = await measure_all(bench, ["celery", "dask"], 1, print)

    assert set(values) == PEERS
    assert min(value for several in values.values() for value in several) > 0
