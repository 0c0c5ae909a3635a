"""One running stack for all acceptance tests, and a caller of each of its two gateways."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from runtime.settings import BrokerSettings
from sluiceway.stack import Stack
from tests.support.stack import Caller, amqp_url, caller_of, running_stack


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test here time for the stack's start, which counts to whichever test comes first."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.processes)
            item.add_marker(pytest.mark.broker)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(180))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, broker_settings: BrokerSettings) -> Iterator[Stack]:
    """Two gateways and two bridges on the broker of the test run. A test that hurts a process brings it back."""
    with running_stack(tmp_path_factory.mktemp("stack"), broker=amqp_url(broker_settings)) as running:
        yield running


@pytest.fixture
async def first(stack: Stack) -> AsyncIterator[Caller]:
    """A caller of the first gateway."""
    async with caller_of(stack, 0) as caller:
        yield caller


@pytest.fixture
async def second(stack: Stack) -> AsyncIterator[Caller]:
    """A caller of the second gateway."""
    async with caller_of(stack, 1) as caller:
        yield caller
