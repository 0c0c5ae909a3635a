"""Where the bearer token comes from: a value, a file or a command; read anew when a gateway refuses it."""

from __future__ import annotations

import asyncio
import shlex
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sluiceway.errors import CredentialsError
from sluiceway.fine_typing import override

__all__ = ["CommandToken", "Credentials", "FileToken", "FixedToken", "TokenSource", "token_source"]

_COMMAND_SECONDS: Final = 60.0
_MAX_BYTES: Final = 64 * 1024


class TokenSource(ABC):
    """Gives a token when asked; blocking, and asked from a thread."""

    @abstractmethod
    def read(self) -> str | None:
        """Return the token as it is now; None: none is used.

        Raises:
            CredentialsError: There should be one, and there is none.
        """


class FixedToken(TokenSource):
    """A token that never changes, or none."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    @override
    def read(self) -> str | None:
        """Return it."""
        return self._token


class FileToken(TokenSource):
    """The one line of a file, which others may replace at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @override
    def read(self) -> str | None:
        """Read the file."""
        try:
            with self._path.open("rb") as file:
                raw = file.read(_MAX_BYTES)
        except OSError as exc:
            raise CredentialsError(f"the token's file {self._path} cannot be read: {exc.strerror}") from exc
        return _checked(raw, f"the token's file {self._path}")


class CommandToken(TokenSource):
    """What a command prints, for example a company's own log-on program; run without a shell."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)

    @override
    def read(self) -> str | None:
        """Run the command."""
        name = self._command[0]
        try:
            done = subprocess.run(self._command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=_COMMAND_SECONDS, check=True)  # noqa: S603 - the user's own command
        except subprocess.CalledProcessError as exc:
            raise CredentialsError(f"the token's command {name} ended with code {exc.returncode}") from exc
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise CredentialsError(f"the token's command {name} cannot be run: {exc}") from exc
        return _checked(done.stdout, f"the output of the token's command {name}")


def _checked(raw: bytes, what: str) -> str:
    """Return a token that may stand in a header; never quotes what it is not."""
    try:
        text = raw.decode("ascii").strip()
    except UnicodeDecodeError as exc:
        raise CredentialsError(f"{what} is no token: it has characters beyond ASCII") from exc
    if not text or any(not "!" <= char <= "~" for char in text):
        raise CredentialsError(f"{what} is no token: one word is expected")
    return text


def token_source(*, token: str | None, token_file: Path | str | None, token_command: Sequence[str] | str | None) -> TokenSource:
    """Return the one source that was named; without any, requests carry no token.

    Raises:
        ValueError: More than one was named, or the command is empty.
    """
    if sum(one is not None for one in (token, token_file, token_command)) > 1:
        raise ValueError("name one of token, token_file and token_command")
    if token_file is not None:
        return FileToken(Path(token_file))
    if token_command is not None:
        command = shlex.split(token_command) if isinstance(token_command, str) else list(token_command)
        if not command:
            raise ValueError("token_command is empty")
        return CommandToken(command)
    return FixedToken(token)


class Credentials:
    """The token in use, shared by all calls of a client."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self._token: str | None = None
        self._known = False
        self._lock = asyncio.Lock()

    async def token(self) -> str | None:
        """Return the token in use.

        Raises:
            CredentialsError: The source gives none.
        """
        if not self._known:
            async with self._lock:
                if not self._known:
                    self._token = await asyncio.to_thread(self._source.read)
                    self._known = True
        return self._token

    async def renew(self, refused: str | None) -> str | None:
        """Ask the source again after a gateway refused a token; of many calls that were refused together one asks."""
        async with self._lock:
            if self._token == refused:
                self._token = await asyncio.to_thread(self._source.read)
                self._known = True
        return self._token
