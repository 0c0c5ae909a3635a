"""What gateways may ask of an owner, and how sessions begin and end, against a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import structlog

from bridge.intake import Intake
from broker.claims import InputDelivery
from broker.link import Broker
from broker.publishing import Publisher
from runtime.logs import configure
from runtime.settings import BrokerSettings
from schemas.control import Acknowledge, Verb
from schemas.ids import key_hash, task_id
from schemas.symphony import CloseFlags, ErrorType
from tests.support.echogrid import EchoConnector
from tests.support.eventually import eventually
from tests.support.laneclient import LaneClient, payloads, short_settings, working
from tests.support.rabbit import MakeCluster


@pytest.fixture
async def client(broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> LaneClient:
    """A client on a fresh cluster of two lanes."""
    return LaneClient(broker=broker, publisher=publisher, topology=await make_cluster(lanes=2))


@pytest.fixture
def json_logs() -> Iterator[None]:
    """Logs as processes write them: the console's pretty tracebacks read source files inside the event loop."""
    configure("error")
    yield
    structlog.reset_defaults()


async def test_a_closed_session_gives_its_lane_back(client: LaneClient, broker_settings: BrokerSettings) -> None:
    """Close: the last record says so, the lane is emptied, its token returns, and the next session in the lane is well."""
    async with working("a", short_settings(client.topology, broker_settings)), client.asking() as ask:
        session = await client.create()
        await client.send(session, [b"x"])
        await client.outputs(session, 1)
        reply = await ask("a", Verb.CLOSE, session, close_flags=int(CloseFlags.DESTROY_ON_CLOSE))
        fold = await client.until(session, lambda fold: fold.ended)
        await client.send(session, [b"too late"])

        async def returned() -> bool:
            return await client.free_lanes() == 2

        await eventually(returned, within=10)
        for _ in range(2):
            again = await client.create()
            await client.send(again, [b"y"])
            got = await client.outputs(again, 1)

            assert payloads(got) == [b"y"]

    assert reply.code == ""
    assert fold.closed is not None
    assert fold.closed.last == 1


async def test_an_unknown_application_is_refused_and_the_lane_returned(client: LaneClient, broker_settings: BrokerSettings) -> None:
    """A session that the grid will not have ends with the grid's code."""
    async with working("a", short_settings(client.topology, broker_settings)):
        session = await client.create(application="nonsense")
        fold = await client.until(session, lambda fold: fold.ended)

        async def returned() -> bool:
            return await client.free_lanes() == 2

        await eventually(returned, within=10)

    assert fold.refused is not None
    assert fold.refused.code == "unknown-application"


async def test_of_two_sessions_in_a_lane_one_is_refused(client: LaneClient, broker_settings: BrokerSettings) -> None:
    """A surplus token that leads to an occupied lane: the session whose mark came later is refused as lane-busy, the other goes on."""
    async with working("a", short_settings(client.topology, broker_settings)):
        first = await client.create()
        second = await client.create(lane=first.lane)
        folds = [await client.until(session, lambda fold: fold.ended or fold.opened) for session in (first, second)]
        winner = first if folds[0].opened else second
        await client.send(winner, [b"x"])
        got = await client.outputs(winner, 1)

    assert payloads(got) == [b"x"]
    assert sorted(fold.opened for fold in folds) == [False, True]
    assert [fold.refused.code for fold in folds if fold.refused] == ["lane-busy"]


async def test_common_data_reaches_the_grid_before_tasks_and_survives_a_takeover(client: LaneClient, broker_settings: BrokerSettings) -> None:
    """Common data given at creation opens the grid session; an update is passed on in order; a successor opens with the newest."""
    first, second = EchoConnector(), EchoConnector()
    async with working("a", short_settings(client.topology, broker_settings), first) as (_, stop):
        session = await client.create(common_data=b"one")
        await client.until(session, lambda fold: fold.opened)
        await client.update(session, b"two" * 1_000_000)
        await client.send(session, [b"x"])
        got = await client.outputs(session, 1)
        stop.set()
    async with working("b", short_settings(client.topology, broker_settings), second):
        await client.send(session, [b"y"])
        await client.outputs(session, 1, cursor=got[-1].cursor(2))

    assert first.common == [b"one", b"two" * 1_000_000]
    assert second.common == [b"two" * 1_000_000]


async def test_cancelled_tasks_end_in_cancelled_outputs(client: LaneClient, broker_settings: BrokerSettings) -> None:
    """Cancel by id and by tag reaches running tasks, and a later task with the tag runs."""
    grid = EchoConnector(stuck=True)
    async with working("a", short_settings(client.topology, broker_settings), grid), client.asking() as ask:
        session = await client.create()
        await client.send(session, [b"a", b"b"], key="k", tag="night")
        await client.send(session, [b"c"], key="l")
        await eventually(lambda: len(grid.runs) == 3, within=10)
        chosen = next(task for task, payload in grid.runs if payload == b"c")
        await ask("a", Verb.CANCEL, session, task_ids=[chosen])
        await ask("a", Verb.CANCEL, session, tag="night")
        got = await client.outputs(session, 3)
        grid.stuck = False

        async def later_runs() -> bool:
            await client.send(session, [b"later"], tag="night")
            newest = (await client.outputs(session, 1, cursor=got[-1].cursor(4)))[-1].outputs[-1]
            return newest.payload == b"later"

        await eventually(later_runs, within=10)
        status = (await ask("a", Verb.STATUS, session)).sessions[0]

    kinds = {output.exception.error_type for one in got for output in one.outputs if output.exception}
    assert kinds == {ErrorType.CANCELLED.value}
    assert status.cancelled >= 3
    assert chosen == task_id(key_hash(session.sid, "l"), chosen[16:20], 0)


async def test_a_suspended_session_starts_nothing_until_it_is_resumed(client: LaneClient, broker_settings: BrokerSettings) -> None:
    """Suspend outlives the owner: the successor holds tasks too, and resume lets them go."""
    grid = EchoConnector()
    chosen = short_settings(client.topology, broker_settings)
    async with working("a", chosen, grid) as (_, stop), client.asking() as ask:
        session = await client.create()
        await client.until(session, lambda fold: fold.opened)
        await ask("a", Verb.SUSPEND, session)
        stop.set()
    async with working("b", chosen, grid), client.asking() as ask:
        await client.send(session, [b"x"])
        await client.until(session, lambda fold: fold.worker == "b")
        held = (await ask("b", Verb.STATUS, session)).sessions[0]
        await ask("b", Verb.RESUME, session)
        got = await client.outputs(session, 1)

    assert held.state == "suspended"
    assert payloads(got) == [b"x"]


async def test_an_acknowledgement_frees_inputs_at_once_and_is_shown_in_the_journal(client: LaneClient, broker_settings: BrokerSettings) -> None:
    """What a client says it holds is given up without waiting for the delay, and gateways can see it."""
    async with working("a", short_settings(client.topology, broker_settings, ack_delay=600)) as (worker, _):
        session = await client.create()
        await client.send(session, [b"x"])
        got = await client.outputs(session, 1)
        owner = worker._owners[session.sid]
        worker._heard(Acknowledge(sid=session.sid, num=got[0].num, nonce=got[0].nonce, next=2))
        await eventually(lambda: not len(owner._session.holding), within=5)
        fold = await client.until(session, lambda fold: fold.acked == 2)

    assert fold.acked == 2


async def test_a_session_that_nobody_uses_closes_itself(client: LaneClient, broker_settings: BrokerSettings) -> None:
    """A session whose creation was never answered must not keep its lane."""
    async with working("a", short_settings(client.topology, broker_settings, unused_seconds=0.5)):
        session = await client.create()
        fold = await client.until(session, lambda fold: fold.ended)

    assert fold.closed is not None
    assert fold.closed.reason == "nobody used the session"


async def test_two_workers_share_sessions(client: LaneClient, broker_settings: BrokerSettings, make_cluster: MakeCluster) -> None:
    """Claims go to whoever waits for one: of eight sessions each of two workers gets some."""
    topology = await make_cluster(lanes=8)
    many = LaneClient(broker=client.broker, publisher=client.publisher, topology=topology)
    chosen = short_settings(topology, broker_settings)
    async with working("a", chosen) as (first, _), working("b", chosen) as (second, _):
        await eventually(lambda: first.ready and second.ready, within=10)
        sessions = [await many.create() for _ in range(8)]
        async with asyncio.TaskGroup() as tasks:
            for session in sessions:
                tasks.create_task(many.until(session, lambda fold: fold.opened))
        shares = (first.sessions, second.sessions)

    assert sum(shares) == 8
    assert min(shares) > 0


@pytest.mark.usefixtures("json_logs")
async def test_a_session_that_makes_its_owners_fail_is_aborted(client: LaneClient, broker_settings: BrokerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """After failures here and redeliveries everywhere the session ends without its inputs being touched, and other sessions go on."""
    take = Intake.take

    def poisoned(self: Intake, delivery: InputDelivery) -> int:
        if b"poison" in delivery.body:
            raise ValueError("a bug that this input brings out")
        return take(self, delivery)

    monkeypatch.setattr(Intake, "take", poisoned)
    monkeypatch.setattr("bridge.worker._LONGEST_PAUSE", 0.1)
    async with working("a", short_settings(client.topology, broker_settings)):
        bad, good = await client.create(), await client.create()
        await client.send(bad, [b"poison"])
        fold = await client.until(bad, lambda fold: fold.ended, within=30)
        await client.send(good, [b"x"])
        got = await client.outputs(good, 1)

    assert fold.closed is not None
    assert fold.closed.aborted
    assert payloads(got) == [b"x"]
