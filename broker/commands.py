"""The command ``sluiceway broker``: set up clusters, look at them, run a private node."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from broker.consuming import ConsumingChannel
from broker.declaring import SetupReport, declare, disk_problem
from broker.errors import BrokerError, NotDeclaredError
from broker.link import Broker
from broker.node import NodeError, NodeMissingError, PrivateNode
from broker.settings import BrokerFile
from runtime import logs
from runtime.secretfiles import SecretFileError
from runtime.settings import BrokerSettings, SettingsError, broker_urls, load
from runtime.signals import stop_on_signals
from schemas.topology import DEAD_QUEUE, ClusterTopology

__all__ = ["app"]

_FAILED: Final = 1
_DEFAULT_URL: Final = "amqp://guest@127.0.0.1:5672/"
_DEFAULT_LANES: Final = 64
_CONNECT_WITHIN: Final = 5.0
_ANSWER_WITHIN: Final = 5.0

app = typer.Typer(name="broker", help="Set up RabbitMQ for clusters, look at it, or run a private node.", no_args_is_help=True)

Config = Annotated[Path | None, typer.Option("--config", help="A broker.toml; without it --url counts.", show_default=False)]
Url = Annotated[str, typer.Option("--url", help="The broker's address, without a password.")]
Password = Annotated[Path | None, typer.Option("--password-file", help="The file with the password of the user in --url.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Clusters = Annotated[list[str] | None, typer.Option("--cluster", help="A cluster's name; may be repeated. Default: all of the file.", show_default=False)]


@app.command(epilog="Example: sluiceway broker setup --cluster RNDBCARDI_PROD --lanes 64 --config broker.toml")
def setup(  # noqa: PLR0913 - one parameter per option
    clusters: Clusters = None,
    lanes: Annotated[int | None, typer.Option(help="How many sessions can be open at once, 1 to 1000.", show_default="64 or the file's")] = None,
    config: Config = None,
    url: Url = _DEFAULT_URL,
    password_file: Password = None,
    disk_folder: Annotated[Path | None, typer.Option(help="RabbitMQ's data folder, to check that all lanes fit.", show_default=False)] = None,
    *,
    as_json: Json = False,
) -> None:
    """Make a cluster's exchanges, queues and lanes; running it again changes nothing, with more lanes it adds them."""
    with _failures():
        file = _file(config, url, password_file)
        wanted = _topologies(file, clusters, lanes)
        for topology in wanted:
            _check_disk(topology, disk_folder)
        reports = asyncio.run(_set_up(file.broker, wanted, quiet=as_json))
    if as_json:
        _print_json(reports)
        return
    for report in reports:
        typer.echo(f"{report.cluster}: {report.lanes} lanes, {report.new_lanes} of them new")


@app.command(epilog="Example: sluiceway broker status --cluster RNDBCARDI_PROD --config broker.toml --json")
def status(clusters: Clusters = None, config: Config = None, url: Url = _DEFAULT_URL, password_file: Password = None, *, as_json: Json = False) -> None:
    """Print how many lanes are free, how many sessions wait for a worker, and how many dead letters there are."""
    with _failures():
        file = _file(config, url, password_file)
        names = clusters or [cluster.name for cluster in file.clusters]
        table = asyncio.run(_look(file.broker, names))
    if as_json:
        _print_json(table)
        return
    for queue, count in table.items():
        typer.echo(f"{queue}: {'not set up' if count is None else count}")


@app.command(epilog="Example: sluiceway broker node --dir .sluiceway/rabbitmq --port 25672")
def node(
    folder: Annotated[Path, typer.Option("--dir", help="Where the node keeps all its files; made when missing.", show_default=False)],
    port: Annotated[int, typer.Option(min=0, max=65535, help="The AMQP port on 127.0.0.1; 0 takes any free one.")] = 0,
) -> None:
    """Run a private RabbitMQ node in the foreground until Ctrl-C or SIGTERM; it prints one line of JSON when it is ready."""
    with _failures():
        raise typer.Exit(asyncio.run(_run_node(folder, port)))


async def _run_node(folder: Path, port: int) -> int:
    async with stop_on_signals() as stop, PrivateNode(directory=folder, port=port) as private, asyncio.TaskGroup() as group:
        _print_json({"event": "node ready", "url": private.url, "password_file": str(private.password_file), "pid": private.pid})
        stopping = group.create_task(stop.wait())
        ended = group.create_task(private.wait())
        await asyncio.wait([stopping, ended], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        ended.cancel()
        return 0 if stop.is_set() else _FAILED


async def _set_up(settings: BrokerSettings, wanted: list[ClusterTopology], *, quiet: bool) -> list[SetupReport]:
    reports = []
    async with Broker(settings=settings, name="sluiceway broker setup") as broker:
        await broker.wait_ready(_CONNECT_WITHIN)
        for topology in wanted:
            with _progress(topology, quiet=quiet) as advance:
                reports.append(await declare(broker, topology, progress=advance))
    return reports


async def _look(settings: BrokerSettings, clusters: list[str]) -> dict[str, int | None]:
    queues = [DEAD_QUEUE]
    for cluster in clusters:
        topology = ClusterTopology(cluster=cluster)
        queues += [topology.free.name, topology.claims.name]
    async with Broker(settings=settings, name="sluiceway broker status") as broker:
        await broker.wait_ready(_CONNECT_WITHIN)
        return {queue: await _count(broker, queue) for queue in queues}


async def _count(broker: Broker, queue: str) -> int | None:
    """Count on a channel of its own, which the broker closes when the queue is missing."""
    channel = ConsumingChannel(await broker.consuming.channel(within=_CONNECT_WITHIN))
    try:
        return await channel.count(queue, within=_ANSWER_WITHIN)
    except NotDeclaredError:
        return None
    finally:
        await channel.aclose()


@contextmanager
def _progress(topology: ClusterTopology, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task(f"lanes of {topology.cluster}", total=topology.lanes)
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def _failures() -> Iterator[None]:
    """Say what is wrong in one sentence, without a traceback; the exit code is 1."""
    logs.configure("error", "console")
    try:
        yield
    except (BrokerError, NodeError, NodeMissingError, SecretFileError, SettingsError, ValueError) as exc:
        typer.echo(str(exc), err=True)
        raise typer.Exit(_FAILED) from exc


def _file(config: Path | None, url: str, password_file: Path | None) -> BrokerFile:
    file = load(config, BrokerFile) if config else BrokerFile(broker=BrokerSettings(urls=(url,), password_file=password_file))
    # A missing password file is the user's mistake, and the reason for no later one.
    broker_urls(file.broker)
    return file


def _topologies(file: BrokerFile, names: list[str] | None, lanes: int | None) -> list[ClusterTopology]:
    known = {cluster.name: cluster.topology for cluster in file.clusters}
    wanted = [known.get(name) or ClusterTopology(cluster=name, lanes=_DEFAULT_LANES) for name in names or known]
    if not wanted:
        raise ValueError("name a cluster with --cluster, or a file with [[clusters]] with --config")
    return [ClusterTopology(cluster=one.cluster, lanes=lanes or one.lanes, limits=one.limits) for one in wanted]


def _check_disk(topology: ClusterTopology, folder: Path | None) -> None:
    problem = disk_problem(topology, shutil.disk_usage(folder).free) if folder else None
    if problem:
        raise ValueError(problem)


def _print_json(value: object) -> None:
    typer.echo(msgspec.json.encode(value).decode())
