"""The asyncio face's entrance: a client of one or several gateways."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from sluiceway.aio.background import Background
from sluiceway.aio.calls import ask, get
from sluiceway.aio.connection import AsyncConnection
from sluiceway.aio.keepalive import KeepAlive
from sluiceway.aio.means import Means
from sluiceway.aio.opening import SessionPlan, attach
from sluiceway.aio.session import AsyncSession
from sluiceway.codecs import Codec, standard_codecs
from sluiceway.http.addresses import Addresses
from sluiceway.http.attempt import Wire
from sluiceway.http.credentials import Credentials, token_source
from sluiceway.http.options import GatewayOptions
from sluiceway.http.transport import Transport, post
from sluiceway.records import ConnectAnswer, ConnectRequest, GridDescription, GridList, SessionDescription, SessionList

__all__ = ["AsyncGateway"]


class AsyncGateway:
    """A client of a site's gateways; use it as an async context manager.

    Args:
        urls: The gateways' addresses. One is used; when it fails, calls go on through another without the caller noticing.
        token_file: A file whose one line is the token. Shorthand for the option of that name.
        ca_file: The certificates (PEM) that gateways are verified with. Shorthand for the option of that name.
        options: Everything else: other sources of tokens, client certificate, proxy, retries.
        codecs: The codecs that ``codec=`` may name; ``standard_codecs()`` without it.

    Example:
        ::

            async with AsyncGateway(["https://gateway.example:8443"], token_file="token") as gateway:
                connection = await gateway.connect(grid="RNDBCARDI_PROD", application="ValueAtRisk")
                async with await connection.create_session(codec="msgpack") as session:
                    async for loss in session.map(range(1000)):
                        print(loss)
    """

    def __init__(
        self,
        urls: Sequence[str] | str,
        *,
        token_file: Path | str | None = None,
        ca_file: Path | str | None = None,
        options: GatewayOptions | None = None,
        codecs: Mapping[str, Codec] | None = None,
    ) -> None:
        self._options = _merged(options or GatewayOptions(), token_file=token_file, ca_file=ca_file)
        self._urls = [urls] if isinstance(urls, str) else list(urls)
        self._codecs = dict(standard_codecs() if codecs is None else codecs)
        self._wire = Wire(options=self._options)
        self._background = Background()
        self._transport = self._build()
        self._means = Means(transport=self._transport, background=self._background, keepalive=KeepAlive(background=self._background))

    def _build(self) -> Transport:
        policy, chance, clock = self._options.retries, random.Random(), time.monotonic  # noqa: S311 - jitter, not secrets
        source = token_source(token=self._options.token, token_file=self._options.token_file, token_command=self._options.token_command)
        return Transport(
            wire=self._wire,
            addresses=Addresses(self._urls, policy=policy, chance=chance, clock=clock, spread=self._options.spread),
            credentials=Credentials(source),
            policy=policy,
            chance=chance,
            clock=clock,
        )

    async def __aenter__(self) -> Self:
        await self._wire.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of the gateways. Sessions are not closed by this: the grid works on, and ``attach`` finds them again."""
        await self._background.aclose()
        await self._wire.aclose()

    @property
    def address(self) -> str:
        """The gateway in use."""
        return self._transport.address

    async def connect(
        self,
        *,
        application: str,
        grid: str | None = None,
        cluster_url: str | None = None,
        username: str | None = None,
        password: str | None = None,
    ) -> AsyncConnection:
        """Connect to an application of a grid (Symphony's ``connect``).

        Args:
            application: The application's name.
            grid: The grid's name; without it and without ``cluster_url``, the caller's default for that application.
            cluster_url: The grid's own address, as in Symphony; it is only looked up, never dialled.
            username: The log-on to the grid, where the grid requires one.
            password: Its password.

        Raises:
            NotFoundError: No such grid or application, or not for this caller.
            SluicewayError: As every call: see ``sluiceway.errors``.
        """
        request = ConnectRequest(grid=grid, cluster_url=cluster_url, application_name=application, username=username, password=password)
        answer = await ask(self._transport, post("/v1/connections", request), ConnectAnswer.read)
        return AsyncConnection(answer, transport=self._transport, plan=self._plan)

    def _plan(self, codec: str | Codec) -> SessionPlan:
        return SessionPlan.make(codec, codecs=self._codecs, means=self._means)

    async def grids(self) -> tuple[GridDescription, ...]:
        """Return the grids that the caller may use."""
        return (await ask(self._transport, get("/v1/grids"), GridList.read)).grids

    async def sessions(self) -> tuple[SessionDescription, ...]:
        """Return the caller's sessions, also those of other programs and machines."""
        return (await self.session_list()).sessions

    async def session_list(self) -> SessionList:
        """Return the caller's sessions, and whether every bridge answered in time."""
        return await ask(self._transport, get("/v1/sessions"), SessionList.read)

    async def attach(self, session_id: str, *, cursor: str | None = None, codec: str | Codec = "raw") -> AsyncSession:
        """Take up a session that another program, or this one before a crash, has left.

        Args:
            session_id: The session.
            cursor: Where to begin fetching, from ``session.cursor``; without it, at the first output that is still kept.
            codec: As in ``create_session``.
        """
        return await attach(session_id, cursor=cursor, plan=self._plan(codec))


def _merged(options: GatewayOptions, *, token_file: Path | str | None, ca_file: Path | str | None) -> GatewayOptions:
    if token_file is not None:
        options = replace(options, token_file=token_file)
    return options if ca_file is None else replace(options, ca_file=ca_file)
