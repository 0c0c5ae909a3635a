"""What the demo says of losses, repetitions and the outage is counted, not assumed."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from examples.value_at_risk.blow import Arrival, Blow, Outage
from examples.value_at_risk.check import LossLedger
from examples.value_at_risk.collecting import Tally
from examples.value_at_risk.processes import ProcessTree, below, born
from examples.value_at_risk.wire import encode_losses
from sluiceway.codecs import standard_codecs
from sluiceway.errors import TaskFailed
from sluiceway.outputs import Output
from sluiceway.records import TaskOutputItem


@pytest.fixture
def tally() -> Tally:
    """Give a tally of three tasks with two scenarios each."""
    return Tally(sent=frozenset({"a", "b", "c"}), ledger=LossLedger(scenarios=6))


def output(task_id: str, *, first: int, sequence: int, successful: bool = True) -> Output:
    """Return a task's output."""
    payload = encode_losses(first=first, values=np.array([1.0, 2.0])) if successful else None
    item = TaskOutputItem(task_id=task_id, sequence=sequence, successful=successful, output=payload, finished_at=0.0)
    return Output(item, standard_codecs()["raw"])


def test_a_task_without_output_is_lost(tally: Tally) -> None:
    """Two of three outputs leave one task lost and none repeated."""
    tally.enter(output("a", first=0, sequence=1))
    tally.enter(output("b", first=2, sequence=2))

    assert (tally.come, tally.lost, tally.repeated) == (2, 1, 0)


def test_an_output_that_comes_twice_is_repeated(tally: Tally) -> None:
    """The second output of a task counts as a repetition, for the task and for its scenarios."""
    tally.enter(output("a", first=0, sequence=1))
    tally.enter(output("a", first=0, sequence=2))

    assert (tally.come, tally.repeated, tally.ledger.repeated) == (1, 1, 2)


def test_a_repetition_that_the_client_dropped_shows_in_the_numbers(tally: Tally) -> None:
    """Three outputs numbered up to 4 mean that the journal holds one more."""
    for task_id, first, sequence in (("a", 0, 1), ("b", 2, 2), ("c", 4, 4)):
        tally.enter(output(task_id, first=first, sequence=sequence))

    assert (tally.lost, tally.repeated) == (0, 1)


def test_a_failed_task_is_not_taken_for_an_output(tally: Tally) -> None:
    """It raises and stays lost."""
    with pytest.raises(TaskFailed):
        tally.enter(output("a", first=0, sequence=1, successful=False))

    assert tally.lost == 3


def blow() -> Blow:
    """Return a blow at second 100 of one clock and 5,000 of the other."""
    return Blow(gateway="gateway-1", address="https://one", bridge="bridge-1", pids=(1, 2), workers=(3,), survivors=(), moment=100.0, wall=5000.0)


def test_the_outage_is_told_apart_for_gateway_and_grid() -> None:
    """Outputs through the other gateway end the gateway's outage; only one computed after the blow ends the grid's."""
    arrivals = [
        Arrival(moment=99.0, address="https://one", finished_at=4999.0),
        Arrival(moment=100.1, address="https://one", finished_at=4999.5),
        Arrival(moment=100.5, address="https://two", finished_at=4999.9),
        Arrival(moment=102.0, address="https://two", finished_at=5001.5),
    ]

    assert Outage.of(blow(), arrivals) == Outage(answered=0.5, resumed=2.0)


def test_a_blow_after_the_last_output_has_no_outage() -> None:
    """What nobody could notice has no length."""
    assert Outage.of(blow(), [Arrival(moment=99.0, address="https://one", finished_at=4999.0)]) == Outage(answered=None, resumed=None)


def test_processes_are_remembered_until_they_have_ended() -> None:
    """A child is seen below this process, lives, and is gone after its end even before anybody has asked for its exit code."""
    tree = ProcessTree()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in tree.look()
        assert child.pid in below(os.getpid())
        assert tree.left([child.pid]) == [child.pid]
        child.kill()
        assert tree.left([child.pid], within=5.0) == []
    assert born(child.pid) == ""


def test_a_process_that_outlives_the_rest_is_ended() -> None:
    """It is named and killed; a second look finds nothing."""
    tree = ProcessTree()
    # The tree of a shell, because this test's own process may have other tests' processes below it.
    with subprocess.Popen(["/bin/sh", "-c", "sleep 60 & echo started; wait"], stdout=subprocess.PIPE) as shell:
        assert shell.stdout is not None
        shell.stdout.readline()
        (sleeper,) = tree.look(shell.pid)
        assert tree.end() == [sleeper]
        assert tree.end() == []
