"""What a full lane answers."""

from __future__ import annotations

import pytest

from schemas.topology import ClusterTopology
from tests.support.eventually import eventually
from tests.support.gatewaystand import Client
from tests.support.rabbit import MakeCluster
from tests.support.scriptedowner import ScriptedOwner

pytestmark = pytest.mark.broker


@pytest.fixture
async def topology(make_cluster: MakeCluster) -> ClusterTopology:
    """A cluster whose one lane holds 1 MiB of inputs."""
    return await make_cluster(lanes=1, input_bytes=1 << 20)


async def test_a_full_quota_is_429_and_drains(client: Client, owner: ScriptedOwner) -> None:
    """A lane that is full refuses with Retry-After; the same key succeeds once there is room, and nothing runs twice."""
    session = await client.session(name="hoard")
    owner.session.hoard = True
    codes = set()
    refused = None
    for number in range(400):
        got = await client.submit(session, bytes(64 * 1024), key=f"k{number}")
        if got.status == 429:
            codes.add(got.code)
            assert int(got.headers["Retry-After"]) >= 1
            refused = f"k{number}"
            break
        assert got.status == 202
    assert codes == {"quota-exceeded"}
    assert refused is not None
    owner.session.release()

    async def accepted() -> bool:
        return (await client.submit(session, bytes(64 * 1024), key=refused)).status == 202

    await eventually(accepted, within=10)
    assert len(owner.session.inputs) == len({id(payload) for payload in owner.session.inputs})
