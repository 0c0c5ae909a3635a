"""How a client reaches its gateways: addresses, trust, token, proxy, patience."""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from sluiceway.http.retries import RetryPolicy

__all__ = ["GatewayOptions", "proxy_for", "tls_context"]


@dataclass(frozen=True, kw_only=True)
class GatewayOptions:
    """Everything but the addresses; each may be left out.

    Args:
        token: The bearer token itself; better name a file or a command.
        token_file: A file whose one line is the token; read anew when a gateway refuses it.
        token_command: A command that prints the token, as a list or as one line; run again when a gateway refuses it.
        ca_file: The certificates (PEM) that gateways are verified with; the system's without it.
        client_certificate: The certificate (PEM, with its chain) that this client shows.
        client_key: Its key (PEM); without it, the certificate's file holds it too.
        proxy: A corporate proxy such as ``http://proxy.example:3128``. Without it ``HTTPS_PROXY`` and ``NO_PROXY`` count; "" means none.
        retries: How patient calls are.
        spread: Whether to begin with any of the gateways; otherwise with the first.
    """

    token: str | None = field(default=None, repr=False)
    token_file: Path | str | None = None
    token_command: Sequence[str] | str | None = None
    ca_file: Path | str | None = None
    client_certificate: Path | str | None = None
    client_key: Path | str | None = None
    proxy: str | None = field(default=None, repr=False)
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    spread: bool = True


def tls_context(options: GatewayOptions) -> ssl.SSLContext:
    """Return a context of TLS 1.2 or later that verifies gateways.

    Raises:
        OSError: A file is missing or holds no certificate or key (``ssl.SSLError`` is one).
    """
    context = ssl.create_default_context(cafile=None if options.ca_file is None else str(options.ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if options.client_certificate is not None:
        key = None if options.client_key is None else str(options.client_key)
        context.load_cert_chain(str(options.client_certificate), key)
    return context


def proxy_for(url: str, options: GatewayOptions) -> str | None:
    """Return the proxy for one gateway: the one given, else what ``HTTPS_PROXY`` and ``NO_PROXY`` say.

    The environment is read here and not by aiohttp, which would take log-ons from ``~/.netrc`` along.
    """
    if options.proxy is not None:
        return options.proxy or None
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.netloc):
        return None
    return urllib.request.getproxies().get(parts.scheme)
