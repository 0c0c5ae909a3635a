"""Secrets kept in files: read one that nobody else may read, write one that nobody else can."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["SecretFileError", "read_secret", "read_secret_bytes", "write_secret"]

_MAX_BYTES: Final = 1 << 20
_OTHERS: Final = stat.S_IRWXO
_OWNER_ONLY: Final = stat.S_IRUSR | stat.S_IWUSR


class SecretFileError(Exception):
    """Raised when a secret's file is missing, empty, too large, or open to every user of the machine."""


def read_secret_bytes(path: Path) -> bytes:
    """Return what a secret's file holds, byte for byte.

    A group may read it, since container platforms hand secrets to a group; everybody else may not.

    Raises:
        SecretFileError: The file cannot be read, is empty or larger than 1 MiB, or others may read, write or run it.
    """
    try:
        with path.open("rb") as file:
            # Asking the open file, not its name, leaves no moment in which the two could differ.
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_MAX_BYTES + 1)
    except OSError as exc:
        raise SecretFileError(f"{path}: {exc.strerror}") from exc
    if mode & _OTHERS:
        raise SecretFileError(f"{path}: every user of this machine has access (mode {mode:04o}); run: chmod 600 {path}")
    if not content.strip():
        raise SecretFileError(f"{path}: is empty")
    if len(content) > _MAX_BYTES:
        raise SecretFileError(f"{path}: is larger than {_MAX_BYTES} bytes, so it is not a secret")
    return content


def read_secret(path: Path) -> str:
    """Return the one line of text in a secret's file, without its line end.

    Raises:
        SecretFileError: As ``read_secret_bytes``, or the content is not one line of UTF-8.
    """
    try:
        text = read_secret_bytes(path).decode()
    except UnicodeDecodeError as exc:
        raise SecretFileError(f"{path}: is not UTF-8 text") from exc
    line = text.removesuffix("\n").removesuffix("\r")
    if "\n" in line or "\r" in line:
        raise SecretFileError(f"{path}: holds more than one line")
    return line


def write_secret(path: Path, content: bytes, *, replace: bool = False) -> None:
    """Write a file of mode 0600 in one step: readers see the old content, or the new, or no file.

    Args:
        path: Where to write; its folder must exist.
        content: What the file shall hold.
        replace: Whether an existing file gives way.

    Raises:
        FileExistsError: The file is there and ``replace`` is not set.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, _OWNER_ONLY)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        if replace:
            draft.replace(path)
        else:
            # A hard link fails where the name is taken: of two processes that both create, one wins whole.
            path.hardlink_to(draft)
    finally:
        draft.unlink(missing_ok=True)
