"""A session's owner against a real broker: what a client asked for is run once and shown in order, whoever owns the session."""

from __future__ import annotations

import pytest

from broker.link import Broker
from broker.publishing import Publisher
from runtime.settings import BrokerSettings
from schemas.ids import key_hash
from schemas.messages import InputHeaders, InputKind, SubmissionRange
from schemas.records import body_digest
from tests.support.echogrid import EchoConnector
from tests.support.eventually import eventually
from tests.support.laneclient import LaneClient, numbers, payloads, short_settings, working
from tests.support.rabbit import MakeCluster


@pytest.fixture
async def client(broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> LaneClient:
    """A client on a fresh cluster of two lanes."""
    return LaneClient(broker=broker, publisher=publisher, topology=await make_cluster(lanes=2))


async def test_outputs_are_numbered_without_a_gap_and_shown_once(client: LaneClient, broker_settings: BrokerSettings) -> None:
    """Three hundred tasks in three submissions give the outputs 1 to 300, one per task."""
    async with working("a", short_settings(client.topology, broker_settings)):
        session = await client.create()
        for part in range(3):
            await client.send(session, [b"%d-%d" % (part, index) for index in range(100)])
        got = await client.outputs(session, 300)

    assert list(range(1, 301)) == numbers(got)
    assert {b"%d-%d" % (part, index) for part in range(3) for index in range(100)} == set(payloads(got))


async def test_a_cursor_shows_the_same_outputs_again(client: LaneClient, broker_settings: BrokerSettings) -> None:
    """Two readers with one cursor, even one in the middle of a record, get the same outputs."""
    async with working("a", short_settings(client.topology, broker_settings)):
        session = await client.create()
        await client.send(session, [b"%d" % index for index in range(50)])
        first = await client.outputs(session, 50)
        cursor = first[0].cursor(first[0].first + 1)
        again = await client.outputs(session, 49, cursor=cursor)
        once_more = await client.outputs(session, 49, cursor=cursor)

    assert again == once_more
    assert payloads(first) == payloads(again)


async def test_a_repeated_submission_is_run_once(client: LaneClient, broker_settings: BrokerSettings) -> None:
    """The same key and body twice give one output per task, before and after the first has finished."""
    grid = EchoConnector()
    async with working("a", short_settings(client.topology, broker_settings), grid):
        session = await client.create()
        await client.send(session, [b"x", b"y"], key="k")
        await client.send(session, [b"x", b"y"], key="k")
        await client.outputs(session, 2)
        await client.send(session, [b"x", b"y"], key="k")
        await client.send(session, [b"z"], key="other")
        got = await client.outputs(session, 3)

    assert numbers(got) == [1, 2, 3]
    assert payloads(got) == [b"x", b"y", b"z"]
    assert len(grid.runs) == 3


async def test_a_key_used_with_another_body_runs_nothing(client: LaneClient, broker_settings: BrokerSettings) -> None:
    """The second body's tasks end in failed outputs, while the first is still running and after it has finished."""
    grid = EchoConnector(stuck=True)
    async with working("a", short_settings(client.topology, broker_settings), grid):
        session = await client.create()
        await client.send(session, [b"first"], key="k")
        await client.send(session, [b"second"], key="k")
        early = await client.outputs(session, 1)
        grid.stuck = False
        await client.send(session, [b"third"], key="l")
        await client.outputs(session, 2)
        await client.send(session, [b"fourth"], key="l")
        all_of_them = await client.outputs(session, 3)

    codes = [output.exception.code if output.exception else "" for one in all_of_them for output in one.outputs]
    assert codes == ["idempotency-key-reused", "", "idempotency-key-reused"]
    assert payloads(early) == [None]
    assert [payload for _, payload in grid.runs] == [b"first", b"third"]


async def test_inputs_are_given_up_only_after_the_delay(client: LaneClient, broker_settings: BrokerSettings) -> None:
    """An input whose output nobody acknowledged goes when a second reading, the delay later, still shows the output."""
    chosen = short_settings(client.topology, broker_settings)
    async with working("a", chosen) as (worker, _):
        session = await client.create()
        await client.send(session, [b"x"])
        await client.outputs(session, 1)
        owner = worker._owners[session.sid]
        assert len(owner._session.holding) == 1

        await eventually(lambda: not len(owner._session.holding), within=10)


async def test_a_drained_worker_hands_over_without_running_finished_work_again(client: LaneClient, broker_settings: BrokerSettings) -> None:
    """What has an output before SIGTERM is not run by the successor; what comes later is."""
    chosen = short_settings(client.topology, broker_settings, ack_delay=30)
    first, second = EchoConnector(), EchoConnector()
    async with working("a", chosen, first) as (_, stop):
        session = await client.create()
        await client.send(session, [b"%d" % index for index in range(20)])
        got = await client.outputs(session, 20)
        stop.set()
    async with working("b", chosen, second):
        await client.send(session, [b"late"])
        later = await client.outputs(session, 1, cursor=got[-1].cursor(21))

    assert len(first.runs) == 20
    assert [payload for _, payload in second.runs] == [b"late"]
    assert numbers(later) == [21]
    assert payloads(later) == [b"late"]


async def test_tasks_of_an_owner_that_lost_its_channel_are_run_again_and_shown_once(client: LaneClient, broker_settings: BrokerSettings) -> None:
    """Tasks that an owner had taken and not finished when its channel closed are run under a new epoch, by whichever worker gets the claim."""
    chosen = short_settings(client.topology, broker_settings)
    grid = EchoConnector(stuck=True)
    async with working("a", chosen, grid) as (worker, _), working("b", chosen, grid) as (other, _):
        session = await client.create()
        await client.send(session, [b"%d" % index for index in range(10)])
        await eventually(lambda: len(grid.runs) == 10, within=10)
        grid.stuck = False
        owner = worker._owners.get(session.sid) or other._owners[session.sid]
        await owner._session.channel.aclose()
        got = await client.outputs(session, 10)

    assert list(range(1, 11)) == numbers(got)
    assert {2} == {one.num for one in got}


async def test_an_unreadable_bundle_ends_in_failed_outputs(client: LaneClient, broker_settings: BrokerSettings) -> None:
    """A damaged body gives each of its tasks a failed output, a copy goes to the dead letters, and the lane moves on."""
    async with working("a", short_settings(client.topology, broker_settings)):
        session = await client.create()
        run = SubmissionRange(key_hash(session.sid, "bad"), b"1234", 2, 0, 2)
        headers = InputHeaders(sid=session.sid, kind=InputKind.INPUTS, ranges=(run,), digest=body_digest(b"another body"))
        key = client.topology.input_key(session.lane)
        await client.publisher.publish(exchange=client.topology.exchange.name, key=key, body=b"garbage", headers=headers.to_table())
        await client.send(session, [b"good"])
        got = await client.outputs(session, 3)

    outputs = [output for one in got for output in one.outputs]
    codes = {output.exception.code if output.exception else None for output in outputs}
    assert {"invalid-input", None} == codes
    assert len(outputs) == 3
