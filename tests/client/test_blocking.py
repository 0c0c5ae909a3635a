"""The blocking face: threads, futures and executors over the same core; a fake gateway echoes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, as_completed, wait
from typing import Any

import pytest

from sluiceway import Gateway, GatewayOptions, GridExecutor, Session, SluicewayError, TaskFailed, TaskFuture
from tests.client.fake_gateway import FakeGateway, FakeSession
from tests.support.eventually import eventually_blocking

Work = Callable[[Session, FakeSession], None]
Use = Callable[[Work], Coroutine[Any, Any, None]]


def _use(fakes: list[FakeGateway], options: GatewayOptions, work: Work) -> None:
    with Gateway([one.url for one in fakes], options=options) as gateway, gateway.connect(application="Echo").create_session() as session:
        work(session, fakes[0].grid.sessions[session.session_id])
    assert not [one for one in threading.enumerate() if one.name == "sluiceway"]


@pytest.fixture
def use(fakes: list[FakeGateway], fast: GatewayOptions) -> Use:
    """Run blocking work with a session in a thread, while the fake gateways run here."""
    return lambda work: asyncio.to_thread(_use, fakes, fast, work)


async def test_map_send_and_outputs(use: Use) -> None:
    """Everything that the asyncio face does is there without asyncio."""

    def work(session: Session, behind: FakeSession) -> None:
        assert list(session.map([b"%d" % one for one in range(300)], window=50)) == [b"%d" % one for one in range(300)]
        ids = session.send([b"a", b"b"])
        assert [one.task_id for one in session.outputs(count=2)] == ids
        assert session.output(ids[1]) == b"b"
        assert session.status().state == "open"
        session.update_common_data(b"x")
        session.suspend()
        session.resume()
        session.set_priority(3)
        assert session.cancel(tag="t") == 1
        assert behind.common == [b"x"]
        assert behind.acknowledged == 302

    await use(work)


async def test_futures_are_real_ones(use: Use, fakes: list[FakeGateway]) -> None:
    """as_completed and wait work on futures of many submissions, which go out in few requests, and failures are their exceptions."""

    def work(session: Session, _: FakeSession) -> None:
        futures = [session.submit(b"%d" % one) for one in range(500)]
        assert {one.result() for one in as_completed(futures, timeout=10)} == {b"%d" % one for one in range(500)}
        bad = session.submit(b"fail")
        done, waiting = wait([bad], timeout=10)
        assert (done, waiting) == ({bad}, set())
        assert isinstance(bad.exception(), TaskFailed)
        assert bad.task_id

    await use(work)
    assert len(fakes[0].paths("/tasks")) < 30


async def test_cancelling_takes_the_task_back(use: Use) -> None:
    """A cancelled future wakes who waits for it, and its task is cancelled at the grid."""

    def work(session: Session, behind: FakeSession) -> None:
        behind.hold = True
        future = session.submit(b"a")
        eventually_blocking(lambda: future.task_id, within=5)
        assert future.cancel()
        assert wait([future], timeout=1).done == {future}
        with pytest.raises(CancelledError):
            future.result()
        eventually_blocking(lambda: behind.canceled == [future.task_id], within=5)
        assert future.cancel()

    await use(work)


async def test_the_executor_shuts_down_both_ways(use: Use) -> None:
    """Leaving an executor waits for its outputs; shutdown with cancel_futures takes the tasks back; later submissions are refused."""

    def work(session: Session, behind: FakeSession) -> None:
        with GridExecutor(session) as executor:
            futures = [executor.submit(b"%d" % one) for one in range(20)]
            assert list(executor.map([b"x", b"y"], timeout=10)) == [b"x", b"y"]
        assert all(one.done() for one in futures)
        with pytest.raises(RuntimeError):
            executor.submit(b"late")
        behind.hold = True
        second = GridExecutor(session)
        waiting = second.submit(b"a")
        second.shutdown(cancel_futures=True)
        assert waiting.cancelled()

    await use(work)


async def test_futures_are_found_again_after_a_crash(fakes: list[FakeGateway], fast: GatewayOptions) -> None:
    """Another program attaches by session id, and gets the outputs of the first one's task ids."""

    def first() -> tuple[str, list[str]]:
        with Gateway(fakes[0].url, options=fast) as gateway:
            session = gateway.connect(application="Echo").create_session()
            futures = [session.submit(b"%d" % one) for one in range(10)]
            eventually_blocking(lambda: all(one.task_id for one in futures), within=5)
            return session.session_id, [one.task_id or "" for one in futures]

    def second(session_id: str, ids: list[str]) -> list[bytes]:
        with Gateway(fakes[1].url, options=fast) as gateway, gateway.attach(session_id) as session:
            futures: dict[str, TaskFuture] = session.reattach(ids)
            return [futures[one].result(10) for one in ids]

    session_id, ids = await asyncio.to_thread(first)
    assert await asyncio.to_thread(second, session_id, ids) == [b"%d" % one for one in range(10)]


async def test_a_closed_gateway_refuses(fakes: list[FakeGateway], fast: GatewayOptions) -> None:
    """After its end, and before its begin, a gateway object refuses in place of hanging."""

    def work() -> None:
        gateway = Gateway(fakes[0].url, options=fast)
        with pytest.raises(SluicewayError, match="inside 'with'"):
            gateway.grids()
        with gateway:
            assert len(gateway.grids()) == 1
            session = gateway.connect(application="Echo").create_session()
            fakes[0].grid.sessions[session.session_id].hold = True
            future = session.submit(b"a")
            eventually_blocking(lambda: future.task_id, within=5)
        gateway.close()
        with pytest.raises(SluicewayError, match="attach to the session again"):
            future.result(5)
        with pytest.raises(SluicewayError, match="closed"):
            gateway.grids()
        with pytest.raises(SluicewayError, match="closed"):
            session.submit(b"late")
        assert not TaskFuture(take_back=session._inner.take_back).done()

    await asyncio.to_thread(work)
