"""The blocking face's entrance: a client of one or several gateways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from sluiceway.aio.gateway import AsyncGateway
from sluiceway.blocking.connection import Connection
from sluiceway.blocking.loop import LoopThread
from sluiceway.blocking.session import Session
from sluiceway.codecs import Codec
from sluiceway.http.options import GatewayOptions
from sluiceway.records import GridDescription, SessionDescription, SessionList

__all__ = ["Gateway"]


class Gateway:
    """A client of a site's gateways, without asyncio; use it as a context manager. Its objects may be used by several threads.

    Args:
        urls: The gateways' addresses. One is used; when it fails, calls go on through another without the caller noticing.
        token_file: A file whose one line is the token. Shorthand for the option of that name.
        ca_file: The certificates (PEM) that gateways are verified with. Shorthand for the option of that name.
        options: Everything else: other sources of tokens, client certificate, proxy, retries.
        codecs: The codecs that ``codec=`` may name; ``standard_codecs()`` without it.

    Example:
        ::

            with Gateway(["https://gateway.example:8443"], token_file="token") as gateway:
                connection = gateway.connect(grid="RNDBCARDI_PROD", application="ValueAtRisk")
                with connection.create_session(codec="msgpack") as session:
                    for loss in session.map(range(1000)):
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
        self._inner = AsyncGateway(urls, token_file=token_file, ca_file=ca_file, options=options, codecs=codecs)
        self._loop = LoopThread()

    def __enter__(self) -> Self:
        self._loop.start()
        try:
            self._loop.run(self._inner.__aenter__())
        except BaseException:
            self._loop.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the gateways. Sessions are not closed by this: the grid works on, and ``attach`` finds them again. Closing twice is harmless."""
        if not self._loop.running:
            return
        try:
            self._loop.run(self._inner.aclose())
        finally:
            self._loop.stop()

    @property
    def address(self) -> str:
        """The gateway in use."""
        return self._inner.address

    def connect(
        self,
        *,
        application: str,
        grid: str | None = None,
        cluster_url: str | None = None,
        username: str | None = None,
        password: str | None = None,
    ) -> Connection:
        """Connect to an application of a grid; see ``AsyncGateway.connect``."""
        connecting = self._inner.connect(application=application, grid=grid, cluster_url=cluster_url, username=username, password=password)
        return Connection(self._loop.run(connecting), loop=self._loop)

    def grids(self) -> tuple[GridDescription, ...]:
        """Return the grids that the caller may use."""
        return self._loop.run(self._inner.grids())

    def sessions(self) -> tuple[SessionDescription, ...]:
        """Return the caller's sessions, also those of other programs and machines."""
        return self._loop.run(self._inner.sessions())

    def session_list(self) -> SessionList:
        """Return the caller's sessions, and whether every bridge answered in time."""
        return self._loop.run(self._inner.session_list())

    def attach(self, session_id: str, *, cursor: str | None = None, codec: str | Codec = "raw") -> Session:
        """Take up a session that another program, or this one before a crash, has left; see ``AsyncGateway.attach``."""
        return Session(self._loop.run(self._inner.attach(session_id, cursor=cursor, codec=codec)), loop=self._loop)
