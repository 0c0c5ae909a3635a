"""``sluiceway ping``: many small tasks through everything and back, with rate and latencies (after Symphony's symping)."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Annotated, Final

import typer

from sluiceway.aio.session import AsyncSession
from sluiceway.cli.site import Application, CaFile, Gateways, Grid, Json, Patience, Proxy, Site, TokenFile, failures, find_site
from sluiceway.packing import pack
from sluiceway.progress import RichProgress

__all__ = ["PingPlan", "PingReport", "percentile", "ping"]

_MARK: Final = b"ping\x00"
"""What ``examples.ping.service`` reads; any other echo service sends such an input back as it is, too."""

_SOME_FAILED: Final = 3


@dataclass(frozen=True, kw_only=True)
class PingPlan:
    """What to send."""

    tasks: int
    input_bytes: int
    output_bytes: int | None
    sleep_ms: float
    under_way: int

    def payload(self) -> bytes:
        """Return one task's input, as large as asked for where the header leaves room."""
        if not self.sleep_ms and self.output_bytes is None:
            return os.urandom(self.input_bytes)
        wanted: dict[str, object] = {"sleep_ms": float(self.sleep_ms)}
        if self.output_bytes is not None:
            wanted["output_bytes"] = self.output_bytes
        bare = _MARK + pack({**wanted, "padding": b""})
        return _MARK + pack({**wanted, "padding": bytes(max(0, self.input_bytes - len(bare)))})


@dataclass(frozen=True, kw_only=True)
class PingReport:
    """What came of it; times in seconds, latencies in milliseconds from submission until the output was here."""

    tasks: int
    failed: int
    seconds: float
    tasks_per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    gateway: str

    def lines(self) -> Iterator[str]:
        """Yield the report for people."""
        yield f"{self.tasks} tasks in {self.seconds:.2f} s through {self.gateway}: {self.tasks_per_s:,.0f} tasks/s, {self.failed} failed"
        yield f"latency in ms: p50 {self.p50_ms:.1f}, p90 {self.p90_ms:.1f}, p99 {self.p99_ms:.1f}, max {self.max_ms:.1f}"


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of ordered values; 0 of none."""
    if not ordered:
        return 0.0
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)]


def ping(  # noqa: PLR0913, PLR0917 - one parameter per option
    tasks: Annotated[int, typer.Option("--tasks", "-n", min=1, help="How many tasks.")] = 1000,
    input_bytes: Annotated[int, typer.Option("--input", min=0, help="Bytes of each input.")] = 1024,
    output_bytes: Annotated[int | None, typer.Option("--output", min=0, help="Bytes of each output; as the input without it.", show_default=False)] = None,
    sleep_ms: Annotated[float, typer.Option("--sleep", min=0, help="Milliseconds that each task takes.")] = 0.0,
    under_way: Annotated[int, typer.Option("--under-way", "-w", min=1, help="How many tasks are under way at once; 1 measures single round trips.")] = 1000,
    grid: Grid = None,
    application: Application = None,
    gateway: Gateways = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    proxy: Proxy = None,
    patience: Patience = 30.0,
    *,
    as_json: Json = False,
) -> None:
    """Send tasks to an echo service and print rate and latencies. Exit code 3 when a task failed.

    Example: sluiceway ping -n 1000 --input 1024 --sleep 5

    Example: sluiceway ping -n 200 --under-way 1 --json
    """
    plan = PingPlan(tasks=tasks, input_bytes=input_bytes, output_bytes=output_bytes, sleep_ms=sleep_ms, under_way=under_way)
    with failures():
        site = find_site(gateway, token_file, ca_file, proxy=proxy, grid=grid, application=application or "ping", patience=patience)
        report = asyncio.run(_ping(site, plan, quiet=as_json))
    if as_json:
        typer.echo(json.dumps(asdict(report)))
    else:
        for line in report.lines():
            typer.echo(line)
    raise typer.Exit(_SOME_FAILED if report.failed else 0)


async def _ping(site: Site, plan: PingPlan, *, quiet: bool) -> PingReport:
    async with site.client() as client:
        connection = await client.connect(grid=site.grid, application=site.application or "ping")
        async with await connection.create_session(name="ping") as session:
            await _warm_up(session)
            with nullcontext() if quiet else RichProgress(plan.tasks, title="ping") as progress, session.told(progress):
                report = await _measure(session, plan, gateway=client.address)
        await connection.close()
        return report


async def _warm_up(session: AsyncSession) -> None:
    """Let the grid start its service instances before the clock runs."""
    await session.submit(b"warm-up")


async def _measure(session: AsyncSession, plan: PingPlan, *, gateway: str) -> PingReport:
    latencies: list[float] = []
    failed = 0
    payload = plan.payload()
    left = iter(range(plan.tasks))

    async def worker() -> None:
        nonlocal failed
        for _ in left:
            sent = time.perf_counter()
            try:
                await session.submit(payload)
            except Exception as exc:  # noqa: BLE001 - counted, and the first ones shown; the others go on
                failed += 1
                if failed <= 3:  # noqa: PLR2004 - as the comment above says
                    typer.echo(f"sluiceway: {exc}", err=True)
                continue
            latencies.append(1000 * (time.perf_counter() - sent))

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(worker()) for _ in range(min(plan.under_way, plan.tasks))]
    del workers
    seconds = time.perf_counter() - began
    latencies.sort()
    return PingReport(
        tasks=plan.tasks,
        failed=failed,
        seconds=seconds,
        tasks_per_s=plan.tasks / seconds,
        p50_ms=percentile(latencies, 0.50),
        p90_ms=percentile(latencies, 0.90),
        p99_ms=percentile(latencies, 0.99),
        max_ms=latencies[-1] if latencies else 0.0,
        gateway=gateway,
    )
