"""Bearer tokens from a file: it holds their SHA-256 hashes only, and is read anew when it changes.

The secrets are 256 random bits, so a plain hash is enough: there is no dictionary to try (OWASP, cryptographic storage).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from gateway.security.principals import EVERY_GRID, Principal
from runtime.logs import get_logger
from runtime.secretfiles import SecretFileError, read_secret_bytes, write_secret

__all__ = ["TokenEntry", "TokenFile", "TokenFileError", "Tokens", "add_token", "load_tokens", "remove_token"]

_PREFIX: Final = "sluice_"
_SCHEME: Final = "bearer "
_VERSION: Final = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}\Z")
_LOOK_SECONDS: Final = 1.0
"""How often the file is looked at: a revoked token is refused after that long."""


class TokenFileError(Exception):
    """Raised when the file of token hashes cannot be used."""


class TokenEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One token."""

    name: str
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    created: int
    """Seconds since the epoch, UTC."""
    grids: tuple[str, ...] = (EVERY_GRID,)
    expires: int | None = None


class TokenFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file holds."""

    version: int = _VERSION
    tokens: tuple[TokenEntry, ...] = ()


def load_tokens(path: Path) -> TokenFile:
    """Read the file.

    Raises:
        TokenFileError: It is missing, open to other users, or not such a file.
    """
    try:
        stored = msgspec.json.decode(read_secret_bytes(path), type=TokenFile)
    except SecretFileError as exc:
        raise TokenFileError(str(exc)) from exc
    except msgspec.DecodeError as exc:
        raise TokenFileError(f"{path}: not a token file: {exc}") from exc
    if stored.version != _VERSION:
        raise TokenFileError(f"{path}: is of version {stored.version}, this program reads version {_VERSION}")
    return stored


def add_token(path: Path, *, name: str, grids: tuple[str, ...], expires: int | None, now: int) -> str:
    """Make a token, store its hash, return the secret: nobody can show it again.

    Raises:
        TokenFileError: The name is taken or has forbidden characters, or the file cannot be used.
    """
    if not _NAME.match(name):
        raise TokenFileError("a token's name has 1 to 64 letters, digits and _ . @ -, and begins with a letter or digit")
    stored = load_tokens(path) if path.exists() else TokenFile()
    if any(entry.name == name for entry in stored.tokens):
        raise TokenFileError(f"there is a token named {name!r} already; revoke it first")
    secret = _PREFIX + secrets.token_urlsafe(32)
    entry = TokenEntry(name=name, sha256=_digest(secret), created=now, grids=grids, expires=expires)
    _store(path, TokenFile(tokens=(*stored.tokens, entry)))
    return secret


def remove_token(path: Path, name: str) -> None:
    """Revoke a token.

    Raises:
        TokenFileError: There is none of that name, or the file cannot be used.
    """
    stored = load_tokens(path)
    rest = tuple(entry for entry in stored.tokens if entry.name != name)
    if len(rest) == len(stored.tokens):
        raise TokenFileError(f"there is no token named {name!r}")
    _store(path, TokenFile(tokens=rest))


def _store(path: Path, content: TokenFile) -> None:
    write_secret(path, msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n", replace=True)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class Tokens:
    """Recognises bearer tokens (RFC 6750) by the file.

    While a changed file cannot be read, the tokens that were read before go on working and the failure is logged.

    Args:
        path: The file.
        stored: What it held at start.
        clock: Seconds since the epoch.
    """

    def __init__(self, *, path: Path, stored: TokenFile, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._log = get_logger(__name__)
        self._state: tuple[int, int, int] | None = None
        self._entries = _by_hash(stored)

    async def authenticate(self, credentials: str) -> Principal | None:
        """Return whose token it is; None when it is no bearer token, unknown, revoked or expired."""
        if credentials[: len(_SCHEME)].lower() != _SCHEME:
            return None
        entry = self._entries.get(_digest(credentials[len(_SCHEME) :].strip()))
        if entry is None or (entry.expires is not None and entry.expires <= self._clock()):
            return None
        return Principal(name=f"token|{entry.name}", grids=entry.grids)

    async def watch(self) -> None:
        """Read the file anew whenever it changes; runs until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(_LOOK_SECONDS)

    async def refresh(self) -> None:
        """Read the file anew if it has changed."""
        try:
            stored = await asyncio.to_thread(self._read_if_changed)
        except TokenFileError as exc:
            self._log.error("token file cannot be read", problem=str(exc))
            return
        if stored is not None:
            self._entries = _by_hash(stored)
            self._log.info("tokens read", count=len(self._entries))

    def _read_if_changed(self) -> TokenFile | None:
        try:
            found = self._path.stat()
        except OSError as exc:
            raise TokenFileError(f"{self._path}: {exc.strerror}") from exc
        state = (found.st_ino, found.st_mtime_ns, found.st_size)
        if state == self._state:
            return None
        stored = load_tokens(self._path)
        self._state = state
        return stored


def _by_hash(stored: TokenFile) -> dict[str, TokenEntry]:
    return {entry.sha256: entry for entry in stored.tokens}
