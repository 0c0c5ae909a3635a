"""Parts that tests of the Python client share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sluiceway import AsyncGateway, AsyncSession, GatewayOptions, RetryPolicy
from tests.client.fake_gateway import FakeGateway, fake_gateways

FAST = RetryPolicy(deadline=5.0, quota_deadline=5.0, first_pause=0.01, longest_pause=0.05, connect_timeout=1.0, read_timeout=2.0)


@pytest.fixture
def fast() -> GatewayOptions:
    """Options with short pauses, which begin with the first gateway."""
    return GatewayOptions(retries=FAST, spread=False, proxy="")


@pytest.fixture
async def fakes() -> AsyncIterator[list[FakeGateway]]:
    """Two fake gateways over one fake grid."""
    async with fake_gateways(2) as gateways:
        yield gateways


@pytest.fixture
async def gateway(fakes: list[FakeGateway], fast: GatewayOptions) -> AsyncIterator[AsyncGateway]:
    """A client of both."""
    async with AsyncGateway([one.url for one in fakes], options=fast) as gateway:
        yield gateway


@pytest.fixture
async def session(gateway: AsyncGateway) -> AsyncIterator[AsyncSession]:
    """An open session of raw bytes."""
    connection = await gateway.connect(application="Echo")
    async with await connection.create_session() as session:
        yield session
