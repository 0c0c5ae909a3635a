"""The part of the demo that needs the grid: a stack of its own, a client, one session, and a blow half way."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from examples.value_at_risk.blow import Blow, Outage, strike
from examples.value_at_risk.check import LossLedger
from examples.value_at_risk.collecting import Collection, Tally
from examples.value_at_risk.scenarios import day_ranges, scenario_count
from examples.value_at_risk.wire import encode_job, encode_range
from sluiceway.blocking.gateway import Gateway
from sluiceway.http.options import GatewayOptions
from sluiceway.http.retries import RetryPolicy
from sluiceway.progress import RichProgress
from sluiceway.stack import Application, Stack, StackError, StackPlan

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from examples.value_at_risk.job import Job
    from examples.value_at_risk.processes import ProcessTree

__all__ = ["GridResult", "GridRun", "stack_plan"]

_APPLICATION: Final = "ValueAtRisk"
_SERVICE: Final = "examples.value_at_risk.service:ValueAtRisk"
_LANES: Final = 4
_INVOKE_SECONDS: Final = 60.0
_PATIENCE: Final = 30.0
_MOST_PROCESSES: Final = 8
_UNFINISHED: Final = frozenset({"pending", "open", "suspended"})


def stack_plan(directory: Path, *, amqp_url: str | None = None) -> StackPlan:
    """Return the demo's stack: two gateways, two bridges, and at each bridge a worker process for every processor."""
    processes = min(os.cpu_count() or 1, _MOST_PROCESSES)
    application = Application(name=_APPLICATION, service=_SERVICE, processes=processes, invoke_timeout=_INVOKE_SECONDS)
    return StackPlan(directory=directory, applications=(application,), lanes=_LANES, amqp_url=amqp_url)


@dataclass(frozen=True, kw_only=True)
class GridResult:
    """What came back.

    Args:
        tally: The outputs, counted by task, with their losses.
        blow: What was killed.
        outage: What the client noticed of it.
        seconds: What took how long, by name.
    """

    tally: Tally
    blow: Blow
    outage: Outage
    seconds: dict[str, float] = field(default_factory=dict)


class GridRun:
    """One job on a stack of its own.

    Args:
        plan: The stack.
        job: What to compute.
        days_per_task: Scenarios of one task.
        console: Where people read along.
        tree: Remembers the stack's processes.
    """

    def __init__(self, plan: StackPlan, *, job: Job, days_per_task: int, console: Console, tree: ProcessTree) -> None:
        self._plan = plan
        self._job = job
        self._days_per_task = days_per_task
        self._console = console
        self._tree = tree

    def run(self) -> GridResult:
        """Start the stack, run the job, stop the stack, whatever happens.

        Raises:
            SluicewayError: The stack did not start, or the grid did not give all outputs.
        """
        began = time.monotonic()
        with Stack(self._plan, tell=self._say) as stack:
            started = time.monotonic()
            self._tree.look()
            self._say(f"stack: ready after {started - began:.1f} s")
            result = self._with_client(stack)
            self._tree.look()
            done = time.monotonic()
        result.seconds.update(start=started - began, stop=time.monotonic() - done)
        return result

    def _with_client(self, stack: Stack) -> GridResult:
        options = GatewayOptions(token_file=stack.token_file, ca_file=stack.ca_file, proxy="", retries=RetryPolicy(deadline=_PATIENCE), spread=False)
        with Gateway(stack.urls, options=options) as gateway:
            self._tidy(gateway)
            return self._compute(stack, gateway)

    def _tidy(self, gateway: Gateway) -> None:
        """Close what a demo that was interrupted in the same folder has left: the grid would go on computing it beside our job."""
        for found in gateway.sessions():
            if found.application_name == _APPLICATION and found.state in _UNFINISHED:
                self._say("closing a session that an interrupted run has left")
                gateway.attach(found.session_id).close()

    def _compute(self, stack: Stack, gateway: Gateway) -> GridResult:
        began = time.monotonic()
        common_data = encode_job(self._job)
        scenarios = scenario_count(days=len(self._job.closes), horizon=self._job.horizon)
        inputs = [encode_range(first=first, count=count) for first, count in day_ranges(total=scenarios, size=self._days_per_task)]
        session = gateway.connect(grid=stack.grid, application=_APPLICATION).create_session(name="value at risk", common_data=common_data)
        tally = Tally(sent=frozenset(session.send(inputs)), ledger=LossLedger(scenarios=scenarios))
        self._say(f"sent: {len(inputs):,} tasks and {len(common_data) / 1e6:.2f} MB of common data to {stack.grid} through {gateway.address}")
        with RichProgress(len(inputs), title="tasks", console=self._console) as progress:
            collection = Collection(
                gateway=gateway,
                session=session,
                tally=tally,
                progress=progress,
                strike=lambda: strike(stack, gateway=gateway, session=session, tree=self._tree, tell=self._say),
                watch=lambda: _watch(stack),
            )
            blow, outage = collection.run()
        session.close()
        return GridResult(tally=tally, blow=blow, outage=outage, seconds={"job": time.monotonic() - began})

    def _say(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)


def _watch(stack: Stack) -> None:
    """Raise when all processes of one kind have ended: then nothing can be waited for."""
    for group in ([stack.node] if stack.node else [], stack.bridges, stack.gateways):
        if group and not any(program.running for program in group):
            names = " and ".join(program.name for program in group)
            raise StackError(f"{names} ended, and nobody is left to do their work; their logs are in {stack.directory / 'logs'}")
