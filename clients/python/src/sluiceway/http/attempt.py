"""One attempt at one gateway: the only module that speaks aiohttp."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from sluiceway.errors import CertificateError, CredentialsError, GatewayUnreachableError, ProblemError, ProtocolError, SluicewayError, problem_error
from sluiceway.http.options import GatewayOptions, proxy_for, tls_context
from sluiceway.http.retries import retry_after
from sluiceway.packing import PackingError, unpack
from sluiceway.records import Problem
from sluiceway.version import API_VERSION, VERSION, VERSION_HEADER

__all__ = ["MSGPACK", "Answer", "Call", "Wire"]

MSGPACK: Final = "application/msgpack"
_ACCEPT: Final = f"{MSGPACK}, application/problem+json"
_PROXY_AUTHENTICATION: Final = 407
_REDIRECTS: Final = range(300, 400)
_ERRORS: Final = 400


@dataclass(frozen=True, kw_only=True)
class Call:
    """One logical call, the same at every attempt.

    Args:
        method: GET or POST: firewalls' rule sets refuse other verbs.
        path: From ``/v1`` on.
        query: Parameters.
        body: The encoded body; None for none.
        content_type: Of the body.
        key: The ``Idempotency-Key``.
        wait: Seconds that the gateway may hold the answer back (a long poll).
        accept: The media types that are read.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = MSGPACK
    key: str | None = None
    wait: float = 0.0
    accept: str = _ACCEPT


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a gateway answered with a 2xx status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def value(self) -> object:
        """Return the decoded body.

        Raises:
            ProtocolError: It is not MessagePack.
        """
        try:
            return unpack(self.body)
        except PackingError as exc:
            raise ProtocolError("the answer is not MessagePack") from exc


class Wire:
    """Sends calls to gateways and reads answers; an async context manager that holds the connections.

    Args:
        options: Trust, proxy and patience.
    """

    def __init__(self, *, options: GatewayOptions) -> None:
        self._options = options
        self._http: aiohttp.ClientSession | None = None
        self._proxies: dict[str, str | None] = {}
        self._headers = {"User-Agent": f"sluiceway-python/{VERSION}", VERSION_HEADER: API_VERSION}

    async def open(self) -> None:
        """Load the certificates."""
        try:
            context = await asyncio.to_thread(tls_context, self._options)
        except OSError as exc:
            raise CredentialsError(f"a certificate or key cannot be loaded: {exc}") from exc
        # No limit of aiohttp's own: a waiting long poll must never keep a submission from going out.
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        self._http = aiohttp.ClientSession(connector=connector, headers=self._headers, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=True)

    async def aclose(self) -> None:
        """Close all connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    async def attempt(self, url: str, call: Call, *, token: str | None, total: float) -> Answer:
        """Ask one gateway once.

        Args:
            url: The gateway's address.
            call: What to ask.
            token: The bearer token.
            total: Seconds that the attempt may take in all.

        Raises:
            ProblemError: The gateway refused.
            GatewayUnreachableError: There was no complete answer.
            CertificateError: The gateway's certificate is not trusted.
            CredentialsError: A proxy on the way refused.
            ProtocolError: Something answered that is no gateway.
            SluicewayError: The connections are closed.
        """
        if self._http is None:
            raise SluicewayError("the client is closed; use it inside 'async with'")
        try:
            return await self._exchange(self._http, url, call, token=token, total=total)
        except aiohttp.ClientConnectorCertificateError as exc:
            raise CertificateError(f"{url}: {exc.certificate_error}") from exc
        except aiohttp.ClientHttpProxyError as exc:
            if exc.status == _PROXY_AUTHENTICATION:
                raise CredentialsError(f"the proxy on the way to {url} wants a log-on: give it as http://user:password@proxy:port") from exc
            raise GatewayUnreachableError(f"{url}: the proxy answered {exc.status}") from exc
        except (aiohttp.ClientError, TimeoutError, ssl.SSLError, OSError) as exc:
            raise GatewayUnreachableError(f"{url}: {str(exc) or type(exc).__name__}") from exc

    def _proxy(self, url: str) -> str | None:
        if url not in self._proxies:
            self._proxies[url] = proxy_for(url, self._options)
        return self._proxies[url]

    async def _exchange(self, http: aiohttp.ClientSession, url: str, call: Call, *, token: str | None, total: float) -> Answer:
        retries = self._options.retries
        timeout = aiohttp.ClientTimeout(total=total, sock_connect=retries.connect_timeout, sock_read=retries.read_timeout + call.wait)
        async with http.request(
            call.method,
            url + call.path,
            params=call.query or None,
            data=call.body,
            headers=_headers(call, token),
            timeout=timeout,
            proxy=self._proxy(url),
            allow_redirects=False,
        ) as response:
            body = await response.read()
            if response.status in _REDIRECTS:
                raise ProtocolError(f"{url}: answered with a redirection ({response.status}), so it is no gateway")
            if response.status >= _ERRORS:
                raise _problem(url, response.status, response.headers, body, reason=response.reason or "")
            return Answer(status=response.status, headers=response.headers, body=body)


def _headers(call: Call, token: str | None) -> dict[str, str]:
    headers = {"Accept": call.accept}
    if call.body is not None:
        headers["Content-Type"] = call.content_type
    if call.key is not None:
        headers["Idempotency-Key"] = call.key
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _problem(url: str, status: int, headers: Mapping[str, str], body: bytes, *, reason: str) -> ProblemError:
    """Read a problem document; what a proxy sends in its place becomes one with the code ``http-<status>``."""
    pause = retry_after(headers)
    kind = headers.get("Content-Type", "")
    try:
        value: object = unpack(body) if "msgpack" in kind else json.loads(body)
        problem = Problem.read(value, status=status)
    except (ValueError, RecursionError):
        problem = Problem(status=status, code=f"http-{status}", title=reason, detail="answered without a problem document")
    return problem_error(problem, gateway=url, retry_after=pause)
