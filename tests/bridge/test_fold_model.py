"""The protocol's promise under faults: real owners, folds, holdings and polls explored in virtual time.

A broker that loses its newest records, stores some twice, refuses or delays others and partitions itself; workers that crash, and claims
that exist twice. Whatever happens, every accepted task reaches a client that follows its cursor exactly once (again only after
``rewound``, which only a loss can cause), numbers have no gap, one cursor position has one content, and nothing acknowledged is missing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from bridge.holding import Holding
from tests.support.simfaults import Faults
from tests.support.simlane import SimPublisher
from tests.support.simreader import SimReader, sim_last_records
from tests.support.simworld import BrokenPromiseError, SimWorld
from tests.support.virtualtime import run_virtually

EXAMPLES = int(os.environ.get("SLUICEWAY_MODEL_EXAMPLES", "100"))
"""Runs of each test; 100 take some five seconds, and 10000 some ten minutes."""

DELAY = 4.0


@pytest.fixture(autouse=True, scope="module")
def simulated() -> Iterator[None]:
    """Let the real code stand on the lane in memory, and keep it quiet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("broker.journal.view.StreamReader", SimReader)
        patch.setattr("broker.journal.view.last_records", sim_last_records)
        patch.setattr("bridge.owner.Publisher", SimPublisher)
        yield


async def explore(seed: int, *, losses: bool) -> SimWorld:
    """Run one life with faults for a while, then in peace to its end."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    faults = Faults(delay=DELAY)
    world = SimWorld(seed, faults)
    rng = world.rng
    for name in ("refused", "unconfirmed", "twice", "slow"):
        setattr(faults, name, rng.choice([0.0, 0.0, 0.02, 0.1]))
    weights = {name: rng.choice([0.0, 0.1, 0.4]) for name in ("lose", "crash", "cut", "partition", "reader")}
    world.claim("c1")
    if rng.random() < 0.3:
        world.claim("c2")
    for name in world.names:
        world.start_worker(name)
    try:
        end = world.loop.time() + rng.choice([15.0, 30.0, 45.0])
        while world.loop.time() < end:
            await act(world, weights, losses=losses)
        while not world.submitted:
            world.submit()
        await world.settle(300)
    finally:
        await world.aclose()
    return world


async def act(world: SimWorld, weights: dict[str, float], *, losses: bool) -> None:
    """Let one thing happen."""
    rng, lane = world.rng, world.lane
    await asyncio.sleep(rng.choice([0.02, 0.2, 0.8]))
    if rng.random() < 0.3 and not world.submitted:
        world.submit()
    if rng.random() < 0.5:
        await world.poll()
    happening = [name for name, weight in weights.items() if rng.random() < weight / 4]
    if "lose" in happening and losses:
        lane.lose(rng.randint(1, 4))
    if "crash" in happening:
        world.crash(rng.choice(world.names))
    if "cut" in happening and lane.channels:
        rng.choice(lane.channels).cut(rng.uniform(0, 5))
    if "partition" in happening and lane.channels:
        rng.choice(lane.channels).give_back(claim=True, inputs=rng.random() < 0.5)
    if "reader" in happening and lane.readers:
        rng.choice(lane.readers).broken = True
        lane.tell()


only_generate = settings(max_examples=EXAMPLES, phases=[Phase.explicit, Phase.reuse, Phase.generate], derandomize="SLUICEWAY_MODEL_EXAMPLES" not in os.environ)


@pytest.mark.timeout(max(60, EXAMPLES))
@only_generate
@given(seed=st.integers(0, 2**48))
def test_whatever_happens_the_client_gets_every_output_once(seed: int) -> None:
    """With lost records, repeats come only after ``rewound`` and nothing is lost."""
    run_virtually(explore(seed, losses=True))


@pytest.mark.timeout(max(60, EXAMPLES))
@only_generate
@given(seed=st.integers(0, 2**48))
def test_without_lost_records_no_cursor_is_rewound(seed: int) -> None:
    """Crashes, partitions, refused and repeated publications alone never send a client back."""
    world = run_virtually(explore(seed, losses=False))

    assert not world.ever_rewound
    assert not world.repeats


def test_the_exploration_finds_the_first_sight_hole(monkeypatch: pytest.MonkeyPatch) -> None:
    """L1 off (an input is given up once its output was seen, without a second look after the delay): tasks are lost."""
    release = Holding.release
    monkeypatch.setattr(Holding, "release", lambda self, *, acked, safe: release(self, acked=acked, safe=safe + 1e9))

    assert finds_a_hole()


def test_the_exploration_finds_the_missing_rebase(monkeypatch: pytest.MonkeyPatch) -> None:
    """REBASE off (positions of other epochs are taken as they are): tasks are lost or shown twice."""
    for user in ("broker.journal.follower.rebase", "bridge.tenure.rebase"):
        monkeypatch.setattr(user, lambda _fold, _num, _nonce, position: position)

    assert finds_a_hole()


def finds_a_hole() -> bool:
    """Explore until a promise is broken."""
    for seed in range(300):
        random.seed(seed)
        try:
            run_virtually(explore(seed, losses=True))
        except BrokenPromiseError:
            return True
    return False
