"""The composition root of a gateway process: the only place that names concrete parts and puts them together."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import msgspec
import uvicorn
from starlette.types import ASGIApp

from broker.link import Broker
from broker.publishing import Publisher
from gateway.acknowledging import Acknowledger
from gateway.administration import Administration
from gateway.admission import Admission
from gateway.app import build_app
from gateway.background import Background
from gateway.bundling import Bundlers
from gateway.collection import Collection
from gateway.connections import Connections
from gateway.edge import Edge
from gateway.grids import Grids
from gateway.identities import Identities
from gateway.inquiry import Inquiry
from gateway.interface import Operations, interface
from gateway.laning import Lanes
from gateway.lifecycle import Lifecycle
from gateway.metrics import GatewayMetrics
from gateway.openapi import openapi
from gateway.owners import Owners
from gateway.pages import Pages, read_static
from gateway.polling import Polling
from gateway.presence import Presence
from gateway.protocol import HeadLimits, limited_protocol
from gateway.readers import Readers
from gateway.security.audit import AuditTrail, append
from gateway.security.tokens import TokenFile, Tokens, load_tokens
from gateway.security.workflow import Authenticate, Authorise, CheckTransport, Workflow
from gateway.sessions import Sessions
from gateway.settings import GatewaySettings
from gateway.submission import Submission
from runtime.keyfiles import load_ring
from runtime.listener import Listener, bind
from runtime.logs import get_logger
from runtime.metrics import process_registry
from runtime.signals import stop_on_signals
from runtime.status import Readiness, StatusServer
from schemas.http import API_VERSION
from schemas.sealing import KeyRing

__all__ = ["Parts", "RunningGateway", "gateway", "serve"]

_PUBLISH_SECONDS = 4.5
"""Below the 5 s in which a client shall hear that the broker is away."""


class Drain:
    """Whether this process is shutting down."""

    def __init__(self) -> None:
        self.begun = False


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What the process' other half needs of the application's parts."""

    app: ASGIApp
    broker: Broker
    publisher: Publisher
    owners: Owners
    readers: Readers
    drain: Drain
    grids: Grids


class RunningGateway(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway that answers."""

    name: str
    port: int
    status_port: int
    parts: Parts


@asynccontextmanager
async def gateway(settings: GatewaySettings) -> AsyncIterator[RunningGateway]:
    """Run a gateway while the block runs; at its end it has drained.

    Raises:
        ListenError: An address cannot be listened on.
        KeyFileError: The key ring cannot be read.
        TokenFileError: The token file cannot be read.
    """
    name = settings.name or f"{socket.gethostname()}-{os.getpid()}"
    registry = process_registry(role="gateway", name=name)
    metrics = GatewayMetrics(registry=registry)
    async with AsyncExitStack() as stack:
        parts = await _parts(settings, name, metrics, stack)
        listener = Listener(config=_uvicorn(settings, parts.app), bound=bind(settings.listen.host, settings.listen.port))
        status = StatusServer(host=settings.status.host, port=settings.status.port, registry=registry, readiness=lambda: _readiness(parts))
        await stack.enter_async_context(status)
        await stack.enter_async_context(listener)
        stack.push_async_callback(_drain, parts, settings.limits.notice_seconds)
        yield RunningGateway(name=name, port=listener.port, status_port=status.port, parts=parts)


async def serve(settings: GatewaySettings) -> None:
    """Run until SIGTERM or SIGINT."""
    log = get_logger(__name__)
    async with stop_on_signals() as stop, gateway(settings) as running:
        log.info("gateway ready", name=running.name, port=running.port, status_port=running.status_port)
        await stop.wait()
        log.info("gateway drains")
    log.info("gateway stopped")


async def _drain(parts: Parts, notice: float) -> None:
    """Say that no more work is wanted, give load balancers time to see it, then let long polls return."""
    parts.drain.begun = True
    parts.readers.wake()
    await asyncio.sleep(notice)


async def _readiness(parts: Parts) -> Readiness:
    problems = []
    if parts.drain.begun:
        problems.append("draining")
    if not parts.broker.ready:
        problems.append("the broker is not connected")
    if not parts.owners.bus.ready:
        problems.append("the control exchange is not connected")
    return Readiness(ready=not problems, problems=tuple(problems))


def _uvicorn(settings: GatewaySettings, app: ASGIApp) -> uvicorn.Config:
    limits = settings.limits
    return uvicorn.Config(
        app,
        http=limited_protocol(HeadLimits(size=limits.header_bytes, seconds=limits.header_seconds)),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=limits.keep_alive_seconds,
        timeout_graceful_shutdown=limits.drain_seconds,
        ssl_context_factory=lambda _config, _default: _tls(settings),
    )


def _tls(settings: GatewaySettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(settings.listen.ciphers)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.load_cert_chain(settings.listen.certificate_file, settings.listen.key_file)
    return context


class _Files(msgspec.Struct, frozen=True):
    ring: KeyRing
    tokens: TokenFile
    static: dict[str, bytes]


def _read_files(settings: GatewaySettings) -> _Files:
    """Read what is needed once; a gateway that cannot say who did what does not start."""
    append(settings.audit.file, b"")
    return _Files(load_ring(settings.keys.ring_file), load_tokens(settings.tokens.file), read_static())


async def _parts(settings: GatewaySettings, name: str, metrics: GatewayMetrics, stack: AsyncExitStack) -> Parts:
    limits = settings.limits
    files = await asyncio.to_thread(_read_files, settings)
    audit = AuditTrail(path=settings.audit.file, gateway=name, required=settings.audit.required)
    tokens = Tokens(path=settings.tokens.file, stored=files.tokens)
    identities = Identities(ring=files.ring)
    presence = Presence()
    grids = Grids(grids=settings.grids, presence=presence)
    broker = await stack.enter_async_context(Broker(settings=settings.broker, name=f"gateway {name}"))
    publisher = await stack.enter_async_context(Publisher(link=broker.publishing, deadline=_PUBLISH_SECONDS))
    owners = await stack.enter_async_context(Owners(broker=broker, publisher=publisher, gateway=name, clusters=grids.clusters, presence=presence))
    spawn = (await stack.enter_async_context(Background())).spawn
    readers = Readers(broker=broker, limits=limits, spawn=spawn)
    for loop in (readers.keep_within_budget(), tokens.watch(), audit.run()):
        stack.callback(spawn(loop).cancel)
    lanes = await stack.enter_async_context(aclosing(Lanes(broker=broker, publisher=publisher, clusters=grids.clusters, metrics=metrics)))
    lifecycle = Lifecycle(readers=readers, owners=owners, broker=broker, spawn=spawn)
    acknowledger = Acknowledger(bus=owners.bus, presence=presence, spawn=spawn)
    stack.callback(acknowledger.close)
    drain = Drain()
    operations = Operations(
        connections=Connections(grids=grids, identities=identities, owners=owners),
        sessions=Sessions(grids=grids, identities=identities, lanes=lanes, readers=readers, lifecycle=lifecycle, owners=owners, limits=limits, spawn=spawn),
        submission=Submission(
            identities=identities, lifecycle=lifecycle, bundlers=Bundlers(publisher=publisher, metrics=metrics), task_bytes=limits.task_bytes
        ),
        collection=Collection(
            polling=Polling(readers=readers, acknowledger=acknowledger, draining=lambda: drain.begun),
            readers=readers,
            identities=identities,
            broker=broker,
            limits=limits,
        ),
        inquiry=Inquiry(identities=identities, owners=owners, presence=presence, readers=readers, lifecycle=lifecycle, grids=grids),
        administration=Administration(identities=identities, owners=owners, lifecycle=lifecycle),
    )
    admission = Admission(requests=limits.requests, in_flight_bytes=limits.in_flight_bytes)
    _watch(metrics, admission, readers, broker)
    workflow = Workflow(steps=[CheckTransport(), Authenticate(authenticators=[tokens]), Authorise()])
    edge = Edge(workflow=workflow, audit=audit, admission=admission, metrics=metrics, limits=limits)
    routes = interface(operations)
    pages = Pages(document=openapi(routes, API_VERSION), static=files.static)
    app = build_app(routes=[*routes, *pages.routes()], edge=edge)
    return Parts(app=app, broker=broker, publisher=publisher, owners=owners, readers=readers, drain=drain, grids=grids)


def _watch(metrics: GatewayMetrics, admission: Admission, readers: Readers, broker: Broker) -> None:
    metrics.watch("requests_under_way", "Requests being answered.", lambda: admission.requests)
    metrics.watch("in_flight_bytes", "Bytes of bodies and answers held.", lambda: admission.bytes)
    metrics.watch("journal_readers", "Journals kept open for polls.", lambda: readers.count)
    metrics.watch("journal_reader_bytes", "Bytes of outputs read ahead.", lambda: readers.bytes)
    metrics.watch("broker_connected", "Whether the broker takes and gives messages.", lambda: float(broker.ready))
