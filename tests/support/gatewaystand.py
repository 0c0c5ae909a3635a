"""A gateway inside the test's own event loop, with real TLS and a client that trusts it."""

from __future__ import annotations

import base64
import io
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import trustme

from gateway.main import RunningGateway, gateway
from gateway.security.tokens import add_token
from gateway.settings import AuditSettings, GatewaySettings, GridSettings, Limits, ListenSettings, TokensSettings
from runtime.keyfiles import load_or_create_ring
from runtime.settings import BrokerSettings, KeysSettings, StatusSettings

__all__ = ["APPLICATION", "GRID", "Client", "Got", "Stand", "make_stand"]

GRID = "RNDBCARDI_PROD"
APPLICATION = "echo"


class Got(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as a client sees it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON is anything
        """The body read as JSON."""
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        """The problem's code; fails when the answer is not a problem document."""
        assert self.headers["Content-Type"] == "application/problem+json", self.body[:300]
        document = self.json
        assert document["status"] == self.status
        return str(document["code"])


class Client:
    """A caller with a token."""

    def __init__(self, *, session: aiohttp.ClientSession, base: str, secret: str) -> None:
        self.http = session
        self.base = base
        self.secret = secret
        self._keys = 0

    def key(self) -> str:
        """Return a fresh idempotency key."""
        self._keys += 1
        return f"key-{id(self)}-{self._keys}"

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        data: bytes | AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> Got:
        """Send a request; ``body`` goes as JSON."""
        sent = {"Authorization": f"Bearer {self.secret}"} if self.secret else {}
        if key is not None:
            sent["Idempotency-Key"] = key
        if body is not None:
            data = msgspec.json.encode(body)
            sent["Content-Type"] = "application/json"
        sent |= headers or {}
        # aiohttp warns of large bodies that it would send in one piece.
        payload = io.BytesIO(data) if isinstance(data, bytes) and len(data) > 1 << 20 else data
        async with self.http.request(method, self.base + path, data=payload, headers=sent) as response:
            return Got(status=response.status, headers=response.headers, body=await response.read())

    async def connect(self, **fields: object) -> str:
        """Connect and return the connection id."""
        got = await self.ask("POST", "/v1/connections", body={"applicationName": APPLICATION, "grid": GRID, **fields}, key=self.key())
        assert got.status == 201, got.body
        return str(got.json["connectionId"])

    async def create(self, connection: str | None = None, **attributes: Any) -> Got:  # noqa: ANN401 - attributes of any kind
        """Create a session; ``attributes`` are its body."""
        connection = connection or await self.connect()
        return await self.ask("POST", f"/v1/connections/{connection}/sessions", body=attributes, key=self.key())

    async def session(self, **attributes: Any) -> str:  # noqa: ANN401 - attributes of any kind
        """Create a session that opens, and return its id."""
        got = await self.create(**attributes)
        assert got.status == 201, got.body
        return str(got.json["sessionId"])

    async def submit(self, session: str, *payloads: bytes, key: str | None = None, **fields: object) -> Got:
        """Send inputs."""
        tasks = [{"taskInput": base64.b64encode(payload).decode(), **fields} for payload in payloads]
        return await self.ask("POST", f"/v1/sessions/{session}/tasks", body={"tasks": tasks}, key=key or self.key())

    async def fetch(self, session: str, *, after: str = "", wait: float = 5, count: int = 100, headers: Mapping[str, str] | None = None) -> Got:
        """Fetch outputs."""
        query = f"?countMax={count}&wait={wait}" + (f"&after={after}" if after else "")
        return await self.ask("GET", f"/v1/sessions/{session}/outputs{query}", headers=headers)

    async def fetch_all(self, session: str, count: int) -> list[Any]:
        """Fetch until ``count`` outputs are there."""
        outputs: list[Any] = []
        cursor = ""
        while len(outputs) < count:
            got = await self.fetch(session, after=cursor, wait=10, count=1000)
            assert got.status == 200, got.body
            assert got.json["outputs"], f"{len(outputs)} of {count} came"
            outputs += got.json["outputs"]
            cursor = got.json["cursor"]
        return outputs


class Stand:
    """Files that every gateway of a test shares, and the means to start one."""

    def __init__(self, *, folder: Path, broker: BrokerSettings, clusters: tuple[str, ...], client_context: ssl.SSLContext) -> None:
        self.folder = folder
        self.audit = folder / "audit.jsonl"
        self.tokens = folder / "tokens.json"
        self.context = client_context
        self._broker = broker
        self._clusters = clusters

    def settings(self, **limits: Any) -> GatewaySettings:  # noqa: ANN401 - any field of Limits
        """Return settings for one more gateway."""
        return GatewaySettings(
            listen=ListenSettings(port=0, certificate_file=self.folder / "gateway.pem", key_file=self.folder / "gateway.pem"),
            status=StatusSettings(),
            broker=self._broker,
            keys=KeysSettings(ring_file=self.folder / "keys.json"),
            tokens=TokensSettings(file=self.tokens),
            audit=AuditSettings(file=self.audit),
            limits=Limits(**{"create_seconds": 5.0, "notice_seconds": 0.0} | limits),
            grids=(
                GridSettings(name=GRID, clusters=self._clusters, applications=(APPLICATION,), urls=("https://masters.example:7870",)),
                GridSettings(name="OTHER", clusters=self._clusters, applications=("other",), log_on="password"),
            ),
        )

    def token(self, name: str, *grids: str) -> str:
        """Make a token and return its secret."""
        return add_token(self.tokens, name=name, grids=grids or ("*",), expires=None, now=1)

    @asynccontextmanager
    async def gateway(self, **limits: Any) -> AsyncIterator[RunningGateway]:  # noqa: ANN401 - any field of Limits
        """Run a gateway."""
        async with gateway(self.settings(**limits)) as running:
            yield running

    @asynccontextmanager
    async def client(self, running: RunningGateway, secret: str) -> AsyncIterator[Client]:
        """Return a client of one gateway."""
        connector = aiohttp.TCPConnector(ssl=self.context, limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield Client(session=session, base=f"https://localhost:{running.port}", secret=secret)


def make_stand(folder: Path, broker: BrokerSettings, *clusters: str) -> Stand:
    """Make the files of a gateway: certificate, key ring, token file."""
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(folder / "gateway.pem"))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    load_or_create_ring(folder / "keys.json")
    return Stand(folder=folder, broker=broker, clusters=clusters, client_context=context)
